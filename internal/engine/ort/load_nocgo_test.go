//go:build !cgo

package ort

import (
	"errors"
	"strings"
	"testing"
)

func TestWithoutCgoSaysSo(t *testing.T) {
	_, err := Load("model.onnx", Options{})
	if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "CGO_ENABLED=1") {
		t.Errorf("got %v", err)
	}
}
