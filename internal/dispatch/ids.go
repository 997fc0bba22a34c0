package dispatch

// IDs hands out request IDs whose low 32 bits stay dense, so that tables
// indexed by them stay as small as the most requests that were ever live at
// once. The high 32 bits tell uses of one index apart. Not safe for concurrent
// use.
type IDs struct {
	generation []uint32
	free       []uint32
}

// New returns an ID that no live request has.
func (s *IDs) New() RequestID {
	if n := len(s.free); n > 0 {
		i := s.free[n-1]
		s.free = s.free[:n-1]
		return RequestID(s.generation[i])<<32 | RequestID(i)
	}
	s.generation = append(s.generation, 0)
	return RequestID(len(s.generation) - 1)
}

// Free takes back the ID of a request that has ended.
func (s *IDs) Free(id RequestID) {
	i := id.Index()
	s.generation[i]++
	s.free = append(s.free, i)
}

// Index is the dense part of the ID.
func (id RequestID) Index() uint32 { return uint32(id) }
