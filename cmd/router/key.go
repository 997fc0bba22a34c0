package main

import (
	"flag"
	"fmt"
	"io"

	"motley/internal/access"
)

// key tells a new key, which nobody can tell again, and prints the line that a
// configuration has in its place: so that router key NAME >>FILE keeps only that.
func key(args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("key", flag.ContinueOnError)
	if done, err := flags(fs, args, stdout, stderr); done {
		return err
	}
	if fs.NArg() != 1 {
		fmt.Fprintln(stderr, "router: key wants the client's name")
		return errUsage
	}
	k := access.NewKey()
	fmt.Fprintf(stderr, "The client's key, told this once: %s\nClients send it as Authorization: Bearer KEY, or x-api-key: KEY. For access.keys or access.keys_file:\n", k)
	_, err := fmt.Fprintf(stdout, "- {name: %q, hash: %q}\n", fs.Arg(0), access.HashOf([]byte(k)))
	return err
}
