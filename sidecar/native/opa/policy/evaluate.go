package policy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/metrics"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// maxDetached is how many evaluations of one policy may run on goroutines of their own, abandoned ones included:
// those that the sidecar has under way at once and a few more. Past it an evaluation waits, up to its deadline.
const maxDetached = 8

var (
	// ErrUndefined says that the rule has no value for this input.
	ErrUndefined = errors.New("undefined")
	// ErrTimeout says that there was no answer before the deadline.
	ErrTimeout = errors.New("the policy did not answer in time")
)

// Evaluate answers the policy's query for one input as JSON, or ErrUndefined, ErrTimeout, or what went wrong.
//
// OPA looks for cancellation between its own steps, but not inside most builtins: a regular expression can hold a
// thread for minutes. A policy that uses such a builtin runs on a goroutine that is left behind at the deadline.
func (p *Policy) Evaluate(document []byte, deadline time.Duration) ([]byte, error) {
	end := time.Now().Add(deadline)
	cancel := topdown.NewCancel()
	timer := time.AfterFunc(deadline, cancel.Cancel)
	defer timer.Stop()
	input, err := ReadInput(document, cancel)
	if err != nil {
		return nil, err
	}
	if !p.detached {
		return p.run(input, cancel)
	}
	return p.runDetached(input, cancel, time.Until(end))
}

type outcome struct {
	answer []byte
	err    error
}

func (p *Policy) runDetached(input ast.Value, cancel topdown.Cancel, deadline time.Duration) ([]byte, error) {
	defer cancel.Cancel() // what is left behind ends as soon as it looks
	late := time.NewTimer(deadline)
	defer late.Stop()
	select {
	case p.running <- struct{}{}:
	case <-late.C:
		return nil, ErrTimeout
	}
	done := make(chan outcome, 1)
	go func() {
		answer, err := p.run(input, cancel)
		<-p.running
		done <- outcome{answer, err}
	}()
	select {
	case result := <-done:
		return result.answer, result.err
	case <-late.C:
		return nil, ErrTimeout
	}
}

func (p *Policy) run(input ast.Value, cancel topdown.Cancel) (answer []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			answer, err = nil, fmt.Errorf("the engine panicked: %v", r)
		}
	}()
	ctx := context.Background()
	txn, err := p.store.NewTransaction(ctx)
	if err != nil {
		return nil, err
	}
	defer p.store.Abort(ctx, txn)
	err = ErrUndefined
	query := topdown.NewQuery(p.query).
		WithCompiler(p.compiler).
		WithStore(p.store).
		WithTransaction(txn).
		WithCancel(cancel).
		WithMetrics(metrics.NoOp()).
		WithStrictBuiltinErrors(p.strict)
	if !p.noInput {
		query = query.WithInput(&ast.Term{Value: input})
	}
	failed := query.Iter(ctx, func(result topdown.QueryResult) error {
		answer, err = appendValue(make([]byte, 0, 512), result[ast.Var("answer")].Value)
		return err
	})
	if failed != nil {
		if topdown.IsCancel(failed) {
			return nil, ErrTimeout
		}
		return nil, failed
	}
	return answer, err
}
