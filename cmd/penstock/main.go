// Command penstock is the whole program: gateway, control plane, simulated providers and their command line. It is used as
// penstock --help says, and holds no code of its own: everything is in internal/cli and below.
package main

import (
	"os"
	_ "time/tzdata" // the zones that budgets end their days in, wherever this runs

	"github.com/penstock/penstock/internal/cli"
)

// version and commit are set by the build.
var (
	version = "dev"
	commit  = ""
)

func main() { os.Exit(cli.Main(version, commit)) }
