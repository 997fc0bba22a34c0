package profiler

import (
	"image/color"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"

	"motley/internal/chart"
)

// Plot draws latency by batch, both logarithmic: a colour per model and type, a
// point per measured size with the interval of its mean, and the law as a line. The
// name says the format: .svg or .png.
func Plot(name string, results []Result) error {
	p := plot.New()
	p.Title.Text = "Latency by batch size (points: measured, lines: affine law)"
	p.X.Label.Text, p.Y.Label.Text = "items", "ms"
	p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
	p.X.Tick.Marker, p.Y.Tick.Marker = plot.LogTicks{Prec: -1}, plot.LogTicks{Prec: -1}
	p.Legend.Top, p.Legend.Left = true, true
	p.Add(plotter.NewGrid())
	drawn := 0
	for i := range results {
		if len(results[i].Sizes) == 0 {
			continue
		}
		// Every other colour, from the strongest on.
		colour := chart.Colours[len(chart.Colours)-1-2*drawn%len(chart.Colours)]
		if err := results[i].draw(p, colour); err != nil {
			return err
		}
		drawn++
	}
	if drawn == 0 { // a logarithmic axis cannot begin at 0
		p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = 1, 10, 1, 10
	}
	// Room around the points, also around a single one.
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = p.X.Min/1.3, p.X.Max*1.3, p.Y.Min/1.3, p.Y.Max*1.3
	return p.Save(640, 480, name)
}

// marks are points with the intervals of their means.
type marks struct {
	plotter.XYs
	plotter.YErrors
}

func (r *Result) draw(p *plot.Plot, colour color.Color) error {
	var m marks
	var law plotter.XYs
	for _, s := range r.Sizes {
		half := min(ms(s.half()), 0.9*ms(s.Mean)) // the axis is logarithmic
		m.XYs = append(m.XYs, plotter.XY{X: float64(s.Batch), Y: ms(s.Mean)})
		m.YErrors = append(m.YErrors, struct{ Low, High float64 }{half, half})
		law = append(law, plotter.XY{X: float64(s.Batch), Y: max(1e-6, r.Law.At(s.Batch)/1e6)})
	}
	bars, err := plotter.NewYErrorBars(m)
	if err != nil {
		return err
	}
	points, err := plotter.NewScatter(m.XYs)
	if err != nil {
		return err
	}
	line, err := plotter.NewLine(law)
	if err != nil {
		return err
	}
	bars.Color, points.Color, line.Color = colour, colour, colour
	points.Radius = vg.Points(3)
	p.Add(line, bars, points)
	p.Legend.Add(r.of(), line, points)
	return nil
}
