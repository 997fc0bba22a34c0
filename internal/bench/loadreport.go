package bench

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"motley/internal/load/page"
	"motley/internal/pool"
)

// LoadReport is one command `bench report`.
type LoadReport struct {
	Files   []string // raw results
	Out     string   // the page
	Title   string
	USDPerH float64
}

// Run carries the command out.
func (c *LoadReport) Run(out Output) error {
	switch {
	case len(c.Files) == 0:
		return usagef("report: name one or more files of raw results")
	case c.Out == "":
		return usagef("-o: name the page to write")
	}
	if err := checkRange("-usd-per-h", c.USDPerH, 0, pool.LargestPrice); err != nil {
		return err
	}
	var all page.Collector
	for _, name := range c.Files {
		if err := withFile(name, func(r io.Reader) error { return all.Add(filepath.Base(name), r) }); err != nil {
			return err
		}
	}
	f, err := os.Create(c.Out)
	if err != nil {
		return err // it names the file
	}
	err = all.Write(f, page.Options{Title: c.Title, USDPerH: c.USDPerH})
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", c.Out, err)
	}
	out.Progress.Say("%s written", c.Out)
	return nil
}
