package policy

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/loader/filter"
)

// maxDataDepth bounds the data of a bundle as MaxDepth does an input: OPA goes through values by recursion.
const (
	maxDataDepth = 64
	maxSequence  = 1 << 53
	signatures   = ".signatures.json"
)

// strong are the digests a signature may name its files by.
var strong = map[string]bool{"SHA-256": true, "SHA-384": true, "SHA-512": true}

// Key verifies signatures by one algorithm only.
type Key struct {
	Algorithm string `json:"algorithm"`
	PEM       string `json:"pem"`
}

// Terms are what a bundle must keep to be opened, and what is loaded beside it. With keys a bundle must be signed.
type Terms struct {
	Modules          map[string]string `json:"modules"` // the shipped rules
	Keys             map[string]Key    `json:"keys"`
	Scope            string            `json:"scope"`
	Schema           json.RawMessage   `json:"schema"`            // of every input
	TestMilliseconds int64             `json:"test_milliseconds"` // for all tests together; 0: they are not run
}

// About is what a bundle says of itself, once that may be believed.
type About struct {
	Revision string `json:"revision"` // the manifest's, free text
	Sequence *int64 `json:"sequence"` // metadata.sequence of the manifest; null without one
	Bundle   string `json:"bundle"`   // digest of every file but the signature
	Digest   string `json:"digest"`   // of those, and of the rules beside them: of what decides
	Key      string `json:"key"`      // which one signed it; "" for none
	Files    int    `json:"files"`
}

// Opened is a bundle whose bounds, signature and manifest are good; its rules have not been compiled.
type Opened struct {
	terms   Terms
	bundled bundle.Bundle
}

// OpenBundle unpacks an archive, verifies its signature and reads its manifest, its modules and its data.
func OpenBundle(terms Terms, archive []byte) (*Opened, *About, []Fault) {
	entries, fault := unpack(archive)
	if fault != nil {
		return nil, nil, []Fault{*fault}
	}
	key, fault := signer(terms, entries)
	if fault != nil {
		return nil, nil, []Fault{*fault}
	}
	reader := bundle.NewCustomReader(&files{rest: entries}).
		WithSizeLimitBytes(MaxBundleFileBytes).
		WithCapabilities(capabilities(false)).
		WithRegoVersion(ast.RegoV1).
		WithSkipBundleVerification(key == "").
		WithBundleVerificationConfig(verification(terms, key))
	bundled, err := reader.Read()
	if err != nil {
		return nil, nil, unreadable(entries, err)
	}
	if fault := unwanted(&bundled); fault != nil {
		return nil, nil, []Fault{*fault}
	}
	sequence, err := sequenceOf(bundled.Manifest.Metadata)
	if err != nil {
		return nil, nil, []Fault{{File: ".manifest", Code: "manifest_refused", Message: err.Error()}}
	}
	about := &About{
		Revision: bundled.Manifest.Revision,
		Sequence: sequence,
		Bundle:   digest(nil, entries),
		Digest:   digest(terms.Modules, entries),
		Key:      key,
		Files:    len(entries),
	}
	return &Opened{terms: terms, bundled: bundled}, about, nil
}

// signer says which key a bundle must verify with; OPA's reader then verifies with that one and no other.
func signer(terms Terms, entries []entry) (string, *Fault) {
	if len(terms.Keys) == 0 {
		return "", nil
	}
	at := slices.IndexFunc(entries, func(e entry) bool { return e.name == signatures })
	if at < 0 {
		return "", &Fault{Code: "unsigned", Message: "the bundle is not signed, and keys are configured"}
	}
	bad := func(code, message string) (string, *Fault) {
		return "", &Fault{File: signatures, Code: code, Message: message}
	}
	var config bundle.SignaturesConfig
	if err := json.Unmarshal(entries[at].content, &config); err != nil || len(config.Signatures) != 1 {
		return bad("bad_signature", "must hold exactly one signature")
	}
	parts := strings.Split(config.Signatures[0], ".")
	var head struct{ Alg, Kid string }
	var claims bundle.DecodedSignature
	if len(parts) != 3 || decode(parts[0], &head) != nil || decode(parts[1], &claims) != nil {
		return bad("bad_signature", "the signature is no JSON Web Token")
	}
	id := cmp.Or(head.Kid, claims.KeyID)
	key, known := terms.Keys[id]
	switch {
	case !known:
		return bad("unknown_key", fmt.Sprintf("is signed with the key %.64q, which is not configured", id))
	case head.Alg != key.Algorithm:
		return bad("wrong_algorithm", fmt.Sprintf("is signed by %.16q; the key %q is for %s", head.Alg, id, key.Algorithm))
	case claims.Scope != terms.Scope:
		return bad("wrong_scope", fmt.Sprintf("is signed for the scope %.64q, not for %q", claims.Scope, terms.Scope))
	}
	for _, file := range claims.Files {
		if !strong[file.Algorithm] {
			return bad("wrong_algorithm", "names a file by a digest other than SHA-256, SHA-384 and SHA-512")
		}
	}
	if _, err := bundle.VerifyBundleSignature(config, verification(terms, id)); err != nil {
		return bad("bad_signature", err.Error())
	}
	return id, nil
}

func decode(part string, into any) error {
	text, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

func verification(terms Terms, id string) *bundle.VerificationConfig {
	if id == "" {
		return nil
	}
	key := terms.Keys[id]
	only := map[string]*bundle.KeyConfig{id: {Key: key.PEM, Algorithm: key.Algorithm, Scope: terms.Scope}}
	return bundle.NewVerificationConfig(only, id, terms.Scope, nil)
}

// unreadable tells every error of Rego in the bundle where OPA's reader stops at the first.
func unreadable(entries []entry, err error) []Fault {
	var several ast.Errors
	if !errors.As(err, &several) {
		return []Fault{{Code: "bundle_refused", Message: err.Error()}}
	}
	texts := map[string]string{}
	for _, e := range entries {
		if strings.HasSuffix(e.name, bundle.RegoExt) {
			texts[e.name] = string(e.content)
		}
	}
	if _, faults := parse(texts); len(faults) > 0 {
		return faults
	}
	return explain(err)
}

// unwanted finds what OPA would take and a sidecar does not.
func unwanted(b *bundle.Bundle) *Fault {
	switch {
	case b.Type() != bundle.SnapshotBundleType:
		return &Fault{Code: "bundle_refused", Message: "it is a delta; a sidecar takes whole bundles only"}
	case len(b.WasmModules)+len(b.PlanModules) > 0:
		return &Fault{Code: "bundle_refused", Message: "it holds compiled rules; build it for the target rego"}
	case b.RegoVersion(ast.RegoV1) != ast.RegoV1 || len(b.Manifest.FileRegoVersions) > 0:
		return &Fault{File: ".manifest", Code: "manifest_refused", Message: "the rules must be Rego version 1"}
	}
	if err := bounded(b.Data, 0); err != nil {
		return &Fault{File: "data", Code: "data_error", Message: err.Error()}
	}
	return nil
}

func bounded(value any, depth int) error {
	if depth > maxDataDepth {
		return fmt.Errorf("nested more than %d deep", maxDataDepth)
	}
	switch v := value.(type) {
	case map[string]any:
		for _, member := range v {
			if err := bounded(member, depth+1); err != nil {
				return err
			}
		}
	case []any:
		for _, item := range v {
			if err := bounded(item, depth+1); err != nil {
				return err
			}
		}
	case json.Number:
		if len(v) > MaxNumberBytes {
			return errTooLong
		}
	}
	return nil
}

func sequenceOf(metadata map[string]any) (*int64, error) {
	value, there := metadata["sequence"]
	if !there {
		return nil, nil
	}
	number, isNumber := value.(json.Number)
	sequence, err := number.Int64()
	if !isNumber || err != nil || sequence < 0 || sequence > maxSequence {
		return nil, errors.New("metadata.sequence must be a whole number from 0 to 2^53")
	}
	return &sequence, nil
}

// digest is about what decides and what it is called, never about how it was packed or by whom it was signed.
func digest(beside map[string]string, entries []entry) string {
	all := map[string][]byte{}
	for name, text := range beside {
		all["beside/"+name] = []byte(text)
	}
	for _, e := range entries {
		if e.name != signatures {
			all["bundle/"+e.name] = e.content
		}
	}
	hash := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(hash, "%d %s\n%d\n", len(name), name, len(all[name]))
		hash.Write(all[name])
	}
	return fmt.Sprintf("sha256:%x", hash.Sum(nil))
}

// files hands unpacked entries to OPA's reader.
type files struct {
	rest []entry
}

func (f *files) NextFile() (*bundle.Descriptor, error) {
	if len(f.rest) == 0 {
		return nil, io.EOF
	}
	next := f.rest[0]
	f.rest = f.rest[1:]
	return bundle.NewDescriptor(next.name, next.name, bytes.NewBuffer(next.content)), nil
}

func (f *files) WithFilter(filter.LoaderFilter) bundle.DirectoryLoader   { return f }
func (f *files) WithPathFormat(bundle.PathFormat) bundle.DirectoryLoader { return f }
func (f *files) WithSizeLimitBytes(int64) bundle.DirectoryLoader         { return f }
func (f *files) WithFollowSymlinks(bool) bundle.DirectoryLoader          { return f }
