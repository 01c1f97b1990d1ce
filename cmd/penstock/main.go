// Command penstock is the whole program; everything it does is in internal/cli and below.
package main

import (
	"os"

	"github.com/penstock/penstock/internal/cli"
)

// version is set by the build.
var version = "dev"

func main() { os.Exit(cli.Main(version)) }
