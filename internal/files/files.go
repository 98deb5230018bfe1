// Package files replaces files at once, and computes their checksums.
package files

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Replace calls create to create a file, a link or a folder, and renames it to path. So path is never missing and never
// incomplete. It creates the folders above path.
func Replace(path string, create func(path string) error) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	next := path + ".next"
	if err := os.RemoveAll(next); err != nil {
		return err
	}
	if err := create(next); err != nil {
		return err
	}
	if err := os.Rename(next, path); err != nil {
		return err
	}
	// Renaming a hard link onto the same file does nothing, not even to the old name.
	return os.RemoveAll(next)
}

// SHA256 returns the sha256 of a file in hex.
func SHA256(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", hash.Sum(nil)), nil
}
