package cascade

import (
	"context"
	"fmt"
	"testing"
	"time"

	"motley/internal/backend"
	"motley/internal/earlyexit"
	"motley/internal/gate"
	"motley/internal/live"
	"motley/internal/oip"
	"motley/internal/pool"
)

// instant is a loop whose models answer at once, all alike.
type instant struct {
	info   live.Info
	answer oip.Message
}

func (l *instant) DoContext(_ context.Context, r *live.Request) error {
	r.Call.Response = l.answer
	return nil
}
func (l *instant) Info(pool.ModelID) *live.Info { return &l.info }
func (l *instant) Idles(pool.ModelID) bool      { return false }
func (l *instant) LatestStart(_ pool.ModelID, _ int, left time.Duration) (time.Duration, bool) {
	return left / 2, true
}

// BenchmarkDo is what a cascade adds to its models' own time: one picture of
// 784 floats in binary, answered by the small model, or by the reference after
// it.
func BenchmarkDo(b *testing.B) {
	for _, stops := range []bool{true, false} {
		b.Run(fmt.Sprintf("small=%v", stops), func(b *testing.B) {
			p := oip.Tensor{Name: "p", Datatype: oip.FP32, Shape: []int64{1, 10}}
			p.Data, _ = oip.AppendValues(nil, []float64{0, 1, 0, 0, 0, 0, 0, 0, 0, 0}, oip.FP32)
			l := &instant{info: live.Info{Batched: true, Metadata: &oip.ModelMetadata{
				Inputs:  []oip.TensorMetadata{{Name: "x", Datatype: oip.FP32, Shape: []int64{-1, 784}}},
				Outputs: []oip.TensorMetadata{{Name: "p", Datatype: oip.FP32, Shape: []int64{-1, 10}}},
			}}}
			asked := &oip.Request{Inputs: []oip.Input{{Shape: []int64{1}}}, BinaryOutput: true}
			if err := oip.Encode([]*oip.Message{&l.answer}, []oip.Tensor{p}, []*oip.Request{asked}, nil, oip.ResponseInfo{Model: "m"}); err != nil {
				b.Fatal(err)
			}
			head := `{"inputs":[{"name":"x","datatype":"FP32","shape":[1,784],"parameters":{"binary_data_size":3136}}]}`
			req := new(oip.Request)
			if err := req.Parse(append([]byte(head), make([]byte, 3136)...), len(head), nil); err != nil {
				b.Fatal(err)
			}
			c, err := New(Config{
				Name: "both", Loop: l, Gate: gate.New(always{stops}, 1),
				Stages: []Stage{{Name: "a", Output: "p"}, {Model: 1, Name: "b", Output: "p"}},
			})
			if err != nil {
				b.Fatal(err)
			}
			r := &live.Request{Call: backend.Call{Request: req}, Size: 1, Mode: earlyexit.Compute}
			b.ReportAllocs()
			for b.Loop() {
				if err := c.Do(context.Background(), r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// always lets every row stop, or none.
type always struct{ stops bool }

func (a always) Active(int, float64) uint32 { return 1 }
func (a always) Decide(*earlyexit.Row, int) earlyexit.Verdict {
	return earlyexit.Verdict{Exit: a.stops, Stop: a.stops, Audit: 0.1}
}
func (a always) Learn(*earlyexit.Outcome) {}
func (a always) Report() earlyexit.Report { return earlyexit.Report{Mode: earlyexit.Compute} }
