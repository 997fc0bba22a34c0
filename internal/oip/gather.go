package oip

// Gather makes dst a request for some rows of src, given by rising number,
// that asks for the outputs of those names, all of them in binary. It is for
// asking another model about the same inputs: of the client's wishes the
// parameters, the timeout and the priority stay, but neither its outputs nor
// its id. Rows that are nil mean the whole of src, which may then be one of a
// model that does not batch.
//
// dst owns its Body and shares nothing with src but the model's name. It must
// not be src, which is only read.
//
// Errors are *Error with status 500: rows that src does not have or that do not
// rise, inputs of different first dimensions where rows are given, a raw
// request not resolved, a member of a sequence. dst is as it was then.
func Gather(dst, src *Request, rows []int, outputs ...string) error {
	if src.Sequence {
		return errorf(statusInternal, "cannot gather rows: the request belongs to a sequence")
	}
	var views []*Request
	if rows == nil {
		if len(src.Inputs) == 0 {
			return errorf(statusInternal, "cannot gather rows: the request has no inputs")
		}
		views = []*Request{{Parameters: src.Parameters, Priority: src.Priority, Inputs: src.Inputs}}
	} else {
		n, why := src.rows()
		if why != "" {
			return errorf(statusInternal, "cannot gather rows: %s", why)
		}
		for i := 0; i < len(rows); {
			run := 1
			for i+run < len(rows) && rows[i+run] == rows[i]+run {
				run++
			}
			if rows[i] < 0 || i > 0 && rows[i] <= rows[i-1] || int64(rows[i]+run) > n {
				return errorf(statusInternal, "cannot gather rows: row %d of %d", rows[i], n)
			}
			c := new(slicer)
			c.look(src, int64(rows[i]), int64(run))
			c.view.Priority = src.Priority
			views = append(views, &c.view)
			i += run
		}
	}
	if len(views) == 0 {
		return errorf(statusInternal, "cannot gather rows: none are wanted")
	}
	if err := mergeable(views); err != nil {
		return err
	}
	wanted := make([]Output, len(outputs))
	for i, name := range outputs {
		wanted[i] = Output{Name: raw(name), Binary: true}
	}
	for _, v := range views {
		v.BinaryOutput, v.Outputs = true, wanted
	}
	m := merger{reqs: views, opt: MergeOptions{Binary: true}, b: make([]byte, 0, mergedSize(views))}
	head := m.write()
	if m.errs != nil {
		return errorf(statusInternal, "cannot gather rows: %s", m.errs.Error())
	}
	made := Request{Model: src.Model}
	if err := made.parse(m.b, head, unlimited, nil); err != nil {
		return errorf(statusInternal, "cannot gather rows: %s", err.Error())
	}
	made.Timeout = src.Timeout
	*dst = made
	return nil
}
