package bench

import (
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"

	"motley/internal/chart"
)

// checkPlot reports a name that no plot can be saved under.
func checkPlot(name string) error {
	if err := chart.CheckName(name); err != nil {
		return usagef("-plot %v", err)
	}
	return nil
}

// colours of the contenders, ours last and strongest.
var colours = chart.Colours

// plotStandings draws bars of the allowable throughput over the highest
// batching bound, which fits models of very different rates on one axis: a
// group per model and law of arrivals, a bar per contender. n rows make a
// group.
func plotStandings(name string, rows []Standing, n int) error {
	p := plot.New()
	p.Title.Text = "Allowable throughput for 2.5 USD/h, over the highest batching bound"
	p.Y.Min, p.Y.Max = 0, 1
	p.Y.Label.Text = "share of the bound"
	p.Add(plotter.NewGrid())
	const width = vg.Length(9)
	var groups []string
	for k := range n {
		var values plotter.Values
		for i := k; i < len(rows); i += n {
			values = append(values, rows[i].OfHighest)
			if k == 0 {
				groups = append(groups, rows[i].Model+"\n"+rows[i].Arrivals)
			}
		}
		bars, err := plotter.NewBarChart(values, width)
		if err != nil {
			return err
		}
		bars.Color = colours[k%len(colours)]
		bars.LineStyle.Width = 0
		bars.Offset = width * vg.Length(float64(k)-float64(n-1)/2)
		p.Add(bars)
		p.Legend.Add(rows[k].Contender, bars)
	}
	p.Legend.Top = true
	p.Legend.Left = true
	p.Y.Max = 1.5 // room for the legend
	p.NominalX(groups...)
	p.X.Min, p.X.Max = -0.6, float64(len(groups))-0.4 // half a group beside the outermost
	return p.Save(vg.Length(len(groups))*width*vg.Length(n+3)+60, 380, name)
}
