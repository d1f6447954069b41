package policy

import (
	"encoding/json"
	"errors"

	"github.com/open-policy-agent/opa/v1/ast"
)

// MaxAnswerBytes bounds what a policy may answer.
const MaxAnswerBytes = 1 << 20

var errAnswerTooLarge = errors.New("the answer is too large")

// appendValue writes a value as JSON: sets as sorted arrays, keys that are no strings as the text of their JSON.
func appendValue(out []byte, value ast.Value) ([]byte, error) {
	if len(out) > MaxAnswerBytes {
		return nil, errAnswerTooLarge
	}
	switch v := value.(type) {
	case ast.Null:
		return append(out, "null"...), nil
	case ast.Boolean:
		if v {
			return append(out, "true"...), nil
		}
		return append(out, "false"...), nil
	case ast.Number:
		return append(out, v...), nil
	case ast.String:
		return appendString(out, string(v))
	case *ast.Array:
		return appendItems(out, v.Len(), v.Elem)
	case ast.Set:
		items := v.Slice()
		return appendItems(out, len(items), func(i int) *ast.Term { return items[i] })
	case ast.Object:
		return appendMembers(out, v)
	default:
		return nil, errors.New("the answer is not a JSON value")
	}
}

func appendItems(out []byte, count int, item func(int) *ast.Term) (_ []byte, err error) {
	out = append(out, '[')
	for i := range count {
		if i > 0 {
			out = append(out, ',')
		}
		if out, err = appendValue(out, item(i).Value); err != nil {
			return nil, err
		}
	}
	return append(out, ']'), nil
}

func appendMembers(out []byte, object ast.Object) ([]byte, error) {
	out = append(out, '{')
	first := true
	err := object.Iter(func(key, value *ast.Term) (err error) {
		if !first {
			out = append(out, ',')
		}
		first = false
		if out, err = appendKey(out, key.Value); err != nil {
			return err
		}
		out = append(out, ':')
		out, err = appendValue(out, value.Value)
		return err
	})
	if err != nil {
		return nil, err
	}
	return append(out, '}'), nil
}

func appendKey(out []byte, key ast.Value) ([]byte, error) {
	if text, ok := key.(ast.String); ok {
		return appendString(out, string(text))
	}
	text, err := appendValue(nil, key)
	if err != nil {
		return nil, err
	}
	return appendString(out, string(text))
}

func appendString(out []byte, text string) ([]byte, error) {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, err := json.Marshal(text)
			return append(out, quoted...), err
		}
	}
	out = append(out, '"')
	out = append(out, text...)
	return append(out, '"'), nil
}
