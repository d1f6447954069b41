package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
)

// addDocuments puts JSON files under data at their folders' paths: sidecar/grants/data.json is data.sidecar.grants.
// It is for files that are too large to be read in Python, where nothing else would go on meanwhile, and keeps the
// same rules: no duplicate keys, no endless depth, and two values for one place are an error.
func addDocuments(root map[string]any, documents map[string]string) []Fault {
	var faults []Fault
	for _, name := range slices.Sorted(maps.Keys(documents)) {
		value, line, err := readDocument(documents[name])
		if err == nil {
			line = 0
			err = setAt(root, name, value)
		}
		if err != nil {
			faults = append(faults, Fault{File: name, Line: line, Code: "invalid_file", Message: err.Error()})
		}
	}
	return faults
}

func setAt(root map[string]any, name string, value any) error {
	folders := []string{}
	if folder := path.Dir(name); folder != "." {
		folders = strings.Split(folder, "/")
	}
	for _, folder := range slices.Backward(folders) {
		value = map[string]any{folder: value}
	}
	object, ok := value.(map[string]any)
	if !ok {
		return errors.New("data at the root must be an object")
	}
	return meet(root, object, "data")
}

func meet(into, more map[string]any, at string) error {
	for key, value := range more {
		there, taken := into[key]
		if !taken {
			into[key] = value
			continue
		}
		known, isObject := there.(map[string]any)
		fresh, alsoObject := value.(map[string]any)
		if !isObject || !alsoObject {
			return fmt.Errorf("%s.%s already has a value from another file", at, key)
		}
		if err := meet(known, fresh, at+"."+key); err != nil {
			return err
		}
	}
	return nil
}

// readDocument reads exactly one JSON value; where it is wrong, on which line.
func readDocument(text string) (any, int, error) {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	value, err := readValue(decoder, 0)
	if err == nil {
		if _, end := decoder.Token(); !errors.Is(end, io.EOF) {
			err = errors.New("not JSON: there is more after the end of the document")
		}
	}
	return value, 1 + strings.Count(text[:min(int(decoder.InputOffset()), len(text))], "\n"), err
}

func readValue(decoder *json.Decoder, depth int) (any, error) {
	if depth > maxDataDepth {
		return nil, fmt.Errorf("nested more than %d deep", maxDataDepth)
	}
	token, err := decoder.Token()
	if err != nil {
		return nil, plain(err)
	}
	switch v := token.(type) {
	case json.Delim:
		if v == '{' {
			return readObject(decoder, depth)
		}
		return readArray(decoder, depth)
	case json.Number:
		if len(v) > MaxNumberBytes {
			return nil, errors.New("a number has too many digits")
		}
	}
	return token, nil
}

func readObject(decoder *json.Decoder, depth int) (any, error) {
	object := map[string]any{}
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return nil, plain(err)
		}
		key := token.(string) // the decoder lets nothing else stand here
		if _, twice := object[key]; twice {
			return nil, fmt.Errorf("duplicate key %q", key)
		}
		if object[key], err = readValue(decoder, depth+1); err != nil {
			return nil, err
		}
	}
	_, err := decoder.Token()
	return object, plain(err)
}

func readArray(decoder *json.Decoder, depth int) (any, error) {
	items := []any{}
	for decoder.More() {
		item, err := readValue(decoder, depth+1)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	_, err := decoder.Token()
	return items, plain(err)
}

func plain(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("not JSON: %w", err)
}
