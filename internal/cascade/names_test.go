package cascade

import "testing"

// What the client calls its request is told to every stage's worker.
func TestNames(t *testing.T) {
	s := begin(t, nil, &model{say: unsureOf}, &model{say: large})
	defer s.end()
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	r := request(t, 14)
	r.Call.ID = []byte("run-7")
	r.Call.Trace.Parse([]byte(parent))
	r.Call.Trace.State = []byte("x=1")
	if a := s.do(r); a.String() == "" {
		t.Fatal("no answer")
	}
	asked := s.world.asked()
	if len(asked) != 2 {
		t.Fatalf("%d stages were asked", len(asked))
	}
	for i, c := range asked {
		if c.id != "run-7" || c.trace != parent+" x=1" {
			t.Errorf("stage %d is told %q, %q", i, c.id, c.trace)
		}
	}
}
