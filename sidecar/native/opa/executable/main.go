// Command opa is Open Policy Agent's own command line, built from the same module versions as the embedded
// library, so that `opa test`, `opa check` and `opa fmt` speak for the engine that decides.
package main

import (
	"errors"
	"os"

	"github.com/open-policy-agent/opa/cmd"
)

func main() {
	err := cmd.RootCommand.Execute()
	var exit *cmd.ExitError
	switch {
	case errors.As(err, &exit):
		os.Exit(exit.Exit)
	case err != nil:
		os.Exit(1)
	}
}
