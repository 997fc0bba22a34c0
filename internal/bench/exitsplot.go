package bench

import (
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// plotExited draws what is saved over the agreement: a colour per controller, a
// shape per stream, mode latency and rows one by one.
func plotExited(name string, all []Exited) error {
	shapes := []draw.GlyphDrawer{draw.CircleGlyph{}, draw.SquareGlyph{}, draw.TriangleGlyph{}, draw.CrossGlyph{}, draw.PlusGlyph{}}
	p := plot.New()
	p.Title.Text = "Mean latency saved over agreement, mode latency"
	p.X.Label.Text, p.Y.Label.Text = "agreement with the full model, %", "mean latency saved, %"
	p.Add(plotter.NewGrid())
	names := controllerNames()
	var streams []string
	for _, e := range all {
		if !slices.Contains(streams, e.Stream) {
			streams = append(streams, e.Stream)
		}
	}
	for _, e := range all {
		if e.Mode != "latency" || e.Batch != 1 || e.Change != "" {
			continue
		}
		points, err := plotter.NewScatter(plotter.XYs{{X: 100 * e.Agreement, Y: 100 * e.SavedMean}})
		if err != nil {
			return err
		}
		stream := slices.Index(streams, e.Stream)
		points.Color = colours[(3+slices.Index(names, e.Controller))%len(colours)]
		if e.Controller == ours {
			points.Color = colours[len(colours)-1]
		}
		points.Shape, points.Radius = shapes[stream%len(shapes)], vg.Points(5)
		p.Add(points)
		p.Legend.Add(e.Controller+", "+e.Stream, points)
	}
	p.Legend.Left = true
	p.X.Min = min(p.X.Min, 80)
	p.Legend.TextStyle.Font.Size = 8
	return p.Save(640, 480, name)
}
