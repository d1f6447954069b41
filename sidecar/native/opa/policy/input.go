package policy

import (
	"encoding/json"
	"errors"
	"slices"
	"unicode/utf8"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// Bounds of an input document. A Go stack that overflows ends the process and cannot be recovered, and OPA
// compares, copies and prints values by recursion: so depth is refused before a value exists. OPA compares numbers
// as big decimals, which takes time with the square of their length and cannot be interrupted.
const (
	MaxInputBytes  = 4 << 20
	MaxDepth       = 128
	MaxNumberBytes = 128
)

var (
	errTooLarge = errors.New("the input is too large")
	errTooDeep  = errors.New("the input is nested too deeply")
	errTooLong  = errors.New("the input has a number with too many digits")
	errJSON     = errors.New("the input is not one JSON document in UTF-8")
)

// ReadInput turns JSON (RFC 8259, UTF-8) into an AST value in one pass; ast.ValueFromReader builds a tree of Go
// values first and takes three times as long. Of duplicate keys the last wins, as with encoding/json.
func ReadInput(document []byte, cancel topdown.Cancel) (ast.Value, error) {
	if len(document) > MaxInputBytes {
		return nil, errTooLarge
	}
	if !utf8.Valid(document) {
		return nil, errJSON
	}
	r := reader{text: document, cancel: cancel}
	value, err := r.value(0)
	if err != nil {
		return nil, err
	}
	r.skip()
	if r.at != len(document) {
		return nil, errJSON
	}
	return value, nil
}

type reader struct {
	text   []byte
	at     int
	cancel topdown.Cancel
}

// skip passes white space and says which byte comes next, 0 at the end.
func (r *reader) skip() byte {
	for ; r.at < len(r.text); r.at++ {
		switch c := r.text[r.at]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c
		}
	}
	return 0
}

func (r *reader) value(depth int) (ast.Value, error) {
	if depth > MaxDepth {
		return nil, errTooDeep
	}
	if r.cancel.Cancelled() {
		return nil, ErrTimeout
	}
	switch c := r.skip(); c {
	case '{':
		return r.object(depth)
	case '[':
		return r.array(depth)
	case '"':
		text, err := r.string()
		if err != nil {
			return nil, err
		}
		return ast.InternedValueOr(text, func(s string) ast.Value { return ast.String(s) }), nil
	case 't':
		return ast.InternedTerm(true).Value, r.literal("true")
	case 'f':
		return ast.InternedTerm(false).Value, r.literal("false")
	case 'n':
		return ast.NullValue, r.literal("null")
	default:
		return r.number()
	}
}

func (r *reader) literal(word string) error {
	if r.at+len(word) > len(r.text) || string(r.text[r.at:r.at+len(word)]) != word {
		return errJSON
	}
	r.at += len(word)
	return nil
}

// fewMembers is how many members of an object are compared one by one, without a map of their names.
const fewMembers = 24

func (r *reader) object(depth int) (ast.Value, error) {
	r.at++
	var room [fewMembers][2]*ast.Term
	var names [fewMembers]string
	var places map[string]int // of many members
	members := room[:0]
	if r.skip() == '}' {
		r.at++
		return ast.NewObject(), nil
	}
	for {
		if r.skip() != '"' {
			return nil, errJSON
		}
		key, err := r.string()
		if err != nil {
			return nil, err
		}
		if r.skip() != ':' {
			return nil, errJSON
		}
		r.at++
		value, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		// OPA's objects do not look whether a key is there already: its members would be gone through twice.
		count := len(members)
		at := slices.Index(names[:min(count, fewMembers)], key)
		if place, ok := places[key]; ok {
			at = place
		}
		if at >= 0 {
			members[at][1] = &ast.Term{Value: value}
		} else {
			if count < fewMembers {
				names[count] = key
			} else if places == nil {
				places = map[string]int{key: count}
			} else {
				places[key] = count
			}
			members = append(members, [2]*ast.Term{ast.InternedTerm(key), {Value: value}})
		}
		switch r.skip() {
		case ',':
			r.at++
		case '}':
			r.at++
			return ast.NewObject(members...), nil
		default:
			return nil, errJSON
		}
	}
}

func (r *reader) array(depth int) (ast.Value, error) {
	r.at++
	var items []*ast.Term
	if r.skip() == ']' {
		r.at++
		return ast.NewArray(), nil
	}
	for {
		value, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		items = append(items, &ast.Term{Value: value})
		switch r.skip() {
		case ',':
			r.at++
		case ']':
			r.at++
			return ast.NewArray(items...), nil
		default:
			return nil, errJSON
		}
	}
}

// string reads from one quote to the next; escapes are left to encoding/json, which knows surrogates.
func (r *reader) string() (string, error) {
	start := r.at
	escaped := false
	for r.at++; r.at < len(r.text); r.at++ {
		switch c := r.text[r.at]; {
		case c == '"':
			r.at++
			if !escaped {
				return string(r.text[start+1 : r.at-1]), nil
			}
			var text string
			if json.Unmarshal(r.text[start:r.at], &text) != nil {
				return "", errJSON
			}
			return text, nil
		case c == '\\':
			escaped = true
			r.at++
		case c < ' ':
			return "", errJSON
		}
	}
	return "", errJSON
}

// number reads -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)? and refuses everything else.
func (r *reader) number() (ast.Value, error) {
	start := r.at
	r.take('-')
	switch {
	case r.take('0'):
	case r.digits() == 0:
		return nil, errJSON
	}
	if r.take('.') && r.digits() == 0 {
		return nil, errJSON
	}
	if r.take('e') || r.take('E') {
		if !r.take('+') {
			r.take('-')
		}
		if r.digits() == 0 {
			return nil, errJSON
		}
	}
	if r.at-start > MaxNumberBytes {
		return nil, errTooLong
	}
	return ast.InterfaceToValue(json.Number(r.text[start:r.at]))
}

func (r *reader) take(c byte) bool {
	if r.at < len(r.text) && r.text[r.at] == c {
		r.at++
		return true
	}
	return false
}

func (r *reader) digits() int {
	start := r.at
	for r.at < len(r.text) && r.text[r.at] >= '0' && r.text[r.at] <= '9' {
		r.at++
	}
	return r.at - start
}
