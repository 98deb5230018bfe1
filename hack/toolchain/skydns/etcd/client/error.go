// Package client replaces the package of etcd's old client. SkyDNS uses only its error for a name that does not exist.
package client

import "fmt"

// ErrorCodeKeyNotFound is the code of the error for a missing key.
const ErrorCodeKeyNotFound = 100

// Error is an error of etcd.
type Error struct{ Code int }

func (e Error) Error() string { return fmt.Sprintf("etcd error %d", e.Code) }
