package backendtest

import "motley/internal/backend"

// FirstDimension is the first dimension of the call's first input, and 1 where
// there is none.
func FirstDimension(c *backend.Call) int {
	if c.Request == nil || len(c.Request.Inputs) == 0 {
		return 1
	}
	if shape := c.Request.Inputs[0].Shape; len(shape) > 0 && shape[0] > 0 {
		return int(shape[0])
	}
	return 1
}

// EchoBody answers every call with its own request's bytes: not an OIP
// response, but enough to see that each caller got its own.
func EchoBody(_ string, calls []*backend.Call) error {
	for _, c := range calls {
		if c.Err != nil {
			continue
		}
		c.Response.Body, c.Response.HeadLength = c.Response.Body[:0], -1
		if c.Request != nil {
			c.Response.Body = append(c.Response.Body, c.Request.Body...)
			c.Response.HeadLength = c.Request.HeadLength
		}
	}
	return nil
}
