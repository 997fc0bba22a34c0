package oip_test

import (
	"errors"
	"strings"
	"testing"

	"motley/internal/oip"
	"motley/internal/oip/oiptest"
)

var fashion = &oip.ModelMetadata{
	Name: "fashion",
	Inputs: []oip.TensorMetadata{
		{Name: "image", Datatype: oip.FP32, Shape: []int64{-1, 1, 28, 28}},
	},
	Outputs: []oip.TensorMetadata{
		{Name: "probabilities", Datatype: oip.FP32, Shape: []int64{-1, 10}},
		{Name: "label", Datatype: oip.Int64, Shape: []int64{-1, 1}},
	},
}

func TestMalformed(t *testing.T) {
	if len(oiptest.Malformed) < 200 {
		t.Errorf("%d malformed requests, want at least 200", len(oiptest.Malformed))
	}
	names := map[string]bool{}
	r := oip.Request{Model: "fashion"}
	for _, c := range oiptest.Malformed {
		t.Run(c.Name, func(t *testing.T) {
			if names[c.Name] {
				t.Errorf("name is not unique")
			}
			names[c.Name] = true
			headLength, err := oip.ParseHeadLength([]byte(c.HeadLength))
			if err == nil {
				err = r.Parse(c.Body, headLength, nil)
			}
			if c.Check {
				if err != nil {
					t.Fatalf("Parse: %v, want only Check to fail", err)
				}
				err = r.Check(fashion, true, oiptest.MaxBatch)
			}
			var e *oip.Error
			if !errors.As(err, &e) {
				t.Fatalf("error = %v, want an *oip.Error", err)
			}
			if e.Status != c.Status || !strings.Contains(e.Message, c.Contains) {
				t.Errorf("got %d %q, want %d with %q", e.Status, e.Message, c.Status, c.Contains)
			}
		})
	}
}
