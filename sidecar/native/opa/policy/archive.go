package policy

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of a bundle, the same as of a policy directory. An archive is read no further than they allow.
const (
	MaxBundleEntries   = 1000
	MaxBundleFileBytes = 16 << 20
	MaxBundleBytes     = 32 << 20
	MaxBundleDepth     = 16
	maxNameBytes       = 512
	headRoom           = MaxBundleEntries * 4096 // heads, padding and extended heads of a tar
)

var errLarge = fmt.Errorf("the bundle unpacks to more than %d MiB", MaxBundleBytes>>20)

// entry is one file of a bundle; its name is clean and relative.
type entry struct {
	name    string
	content []byte
}

// unpack reads a tar archive, gzipped or plain, to its very end: a gzip stream that was cut off or changed does not
// pass. Links, devices and names that lead out of the bundle or stand twice are refused, not skipped.
func unpack(archive []byte) ([]entry, *Fault) {
	stream := io.Reader(bytes.NewReader(archive))
	if bytes.HasPrefix(archive, []byte{0x1f, 0x8b}) {
		zipped, err := gzip.NewReader(stream)
		if err != nil {
			return nil, refused("", err)
		}
		stream = zipped
	}
	limited := &io.LimitedReader{R: stream, N: MaxBundleBytes + headRoom}
	entries, fault := untar(limited)
	if fault == nil {
		if _, err := io.Copy(io.Discard, limited); err != nil {
			fault = refused("", err)
		}
	}
	if limited.N <= 0 {
		return nil, refused("", errLarge)
	}
	return entries, fault
}

func untar(stream io.Reader) (entries []entry, _ *Fault) {
	reader := tar.NewReader(stream)
	seen := map[string]bool{}
	total := 0
	for count := 1; ; count++ {
		head, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, refused("", err)
		}
		if count > MaxBundleEntries {
			return nil, refused("", fmt.Errorf("the bundle has more than %d entries", MaxBundleEntries))
		}
		name, err := clean(head.Name)
		if err != nil {
			return nil, refused("", err)
		}
		if head.Typeflag == tar.TypeDir {
			continue
		}
		if head.Typeflag != tar.TypeReg {
			return nil, refused(name, errors.New("is no plain file; a bundle has no links and no devices"))
		}
		if seen[name] {
			return nil, refused(name, errors.New("stands twice in the bundle"))
		}
		seen[name] = true
		content, err := io.ReadAll(io.LimitReader(reader, MaxBundleFileBytes+1))
		if err != nil {
			return nil, refused(name, err)
		}
		if len(content) > MaxBundleFileBytes {
			return nil, refused(name, fmt.Errorf("is larger than %d MiB", MaxBundleFileBytes>>20))
		}
		if total += len(content); total > MaxBundleBytes {
			return nil, refused("", errLarge)
		}
		entries = append(entries, entry{name, content})
	}
	if len(entries) == 0 {
		return nil, refused("", errors.New("the bundle has no files; it is a tar archive, gzipped or not"))
	}
	return entries, nil
}

// clean takes the leading slash that `opa build` writes, or a leading "./", off a name.
func clean(name string) (string, error) {
	plain := strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(name, "."), "/"), "/")
	if strings.HasPrefix(name, ".") && !strings.HasPrefix(name, "./") {
		plain = strings.TrimSuffix(name, "/") // a name that begins with a dot
	}
	if len(name) > maxNameBytes || !utf8.ValidString(name) || strings.ContainsFunc(name, odd) {
		return "", errors.New("a name in the bundle is too long or has odd characters")
	}
	if plain == "" || plain == "." {
		return ".", nil // the root itself
	}
	parts := strings.Split(plain, "/")
	if len(parts) > MaxBundleDepth {
		return "", fmt.Errorf("the bundle's folders are more than %d deep", MaxBundleDepth)
	}
	for _, part := range parts {
		if part == "" || part == "." || part == ".." {
			return "", fmt.Errorf("the name %q leads out of the bundle or is not plain", name)
		}
	}
	return plain, nil
}

func odd(r rune) bool {
	return r == '\\' || unicode.IsControl(r)
}

func refused(name string, err error) *Fault {
	return &Fault{File: name, Code: "archive_refused", Message: err.Error()}
}
