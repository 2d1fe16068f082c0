package ownership

// Settle does nothing: what is made in a folder inherits its rights.
func Settle(string) error { return nil }
