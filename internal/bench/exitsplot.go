package bench

import (
	"fmt"
	"image/color"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// exitColours are of the controllers, in the order of controllerNames.
var exitColours = []color.RGBA{colours[2], colours[4], colours[6], colours[8], colours[7], colours[1]}

// plotFrom is the agreement at which the plot begins, in %: what is worse saves
// as it likes.
const plotFrom = 94

// plotExited draws what is saved over the agreement: a colour per controller, a
// shape per stream, mode latency and rows one by one.
func plotExited(name string, all []Exited) error {
	shapes := []draw.GlyphDrawer{draw.CircleGlyph{}, draw.SquareGlyph{}, draw.TriangleGlyph{}, draw.CrossGlyph{}, draw.PlusGlyph{}}
	p := plot.New()
	p.X.Label.Text, p.Y.Label.Text = "agreement with the full model, %", "mean latency saved, %"
	p.Add(plotter.NewGrid())
	names := controllerNames()
	var streams []string
	outside := 0
	mark := func(at plotter.XYs, controller, stream int) (*plotter.Scatter, error) {
		points, err := plotter.NewScatter(at)
		if err != nil {
			return nil, err
		}
		points.Color = color.RGBA{A: 0xff}
		if controller >= 0 {
			points.Color = exitColours[controller%len(exitColours)]
		}
		points.Shape, points.Radius = shapes[stream%len(shapes)], vg.Points(5)
		return points, nil
	}
	for _, e := range all {
		if !slices.Contains(streams, e.Stream) {
			streams = append(streams, e.Stream)
		}
		if e.Mode != "latency" || e.Batch != 1 {
			continue
		}
		if 100*e.Agreement < plotFrom {
			outside++
			continue
		}
		points, err := mark(plotter.XYs{{X: 100 * e.Agreement, Y: 100 * e.SavedMean}}, slices.Index(names, e.Controller), slices.Index(streams, e.Stream))
		if err != nil {
			return err
		}
		p.Add(points)
	}
	for i, n := range names {
		points, err := mark(plotter.XYs{{}}, i, 0)
		if err != nil {
			return err
		}
		p.Legend.Add(n, points)
	}
	for i, n := range streams {
		points, err := mark(plotter.XYs{{}}, -1, i)
		if err != nil {
			return err
		}
		p.Legend.Add(n, points)
	}
	p.Title.Text = "Mean latency saved over agreement, mode latency"
	if outside > 0 {
		p.Title.Text += fmt.Sprintf(" (%d results under %d %% are not shown)", outside, plotFrom)
	}
	p.Legend.Left, p.Legend.Top = true, true
	p.X.Min, p.X.Max, p.Y.Min = plotFrom, 100.2, 0
	p.Y.Max = 100 // room for the legend
	return p.Save(640, 480, name)
}
