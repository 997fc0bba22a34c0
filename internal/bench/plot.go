package bench

import (
	"image/color"
	"path/filepath"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// checkPlot reports a name that no plot can be saved under.
func checkPlot(name string) error {
	if ext := filepath.Ext(name); ext != ".svg" && ext != ".png" {
		return usagef("-plot %s: want a name that ends in .svg or .png", name)
	}
	return nil
}

// colours of the contenders, ours last and strongest.
var colours = []color.RGBA{
	{0xd9, 0xd9, 0xd9, 0xff}, {0xbd, 0xbd, 0xbd, 0xff}, {0x96, 0x96, 0x96, 0xff}, {0xc6, 0xdb, 0xef, 0xff}, {0x9e, 0xca, 0xe1, 0xff},
	{0x6b, 0xae, 0xd6, 0xff}, {0x21, 0x71, 0xb5, 0xff}, {0xfd, 0xae, 0x6b, 0xff}, {0xe6, 0x55, 0x0d, 0xff},
}

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
