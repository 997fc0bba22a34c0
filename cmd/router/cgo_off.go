//go:build !cgo

package main

// cgo tells whether ONNX Runtime can be loaded into this build.
const cgo = false
