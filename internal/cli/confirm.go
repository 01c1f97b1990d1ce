package cli

import (
	"bufio"
	"fmt"
	"strings"
)

// confirm asks whether to do what cannot be undone, where somebody can answer: on a terminal. Elsewhere nobody is asked,
// since a script that waits for ever is worse.
func (a *app) confirm(question string) bool {
	if !a.ttyIn || !a.ttyErr {
		return true
	}
	fmt.Fprintf(a.err, "%s [y/N] ", clean(question))
	answer, _ := bufio.NewReader(a.in).ReadString('\n') // what ends early is no yes
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return true
	}
	return false
}
