package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// fetch downloads and verifies a snapshot.
func (b *backup) fetch(ctx context.Context, name, path string) error {
	start := time.Now()
	_, metadata, err := b.container.head(ctx, name)
	if err != nil {
		return err
	}
	part := path + ".part"
	defer func() { _ = os.Remove(part) }() // does not exist after a success
	file, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	err = b.container.download(ctx, name, file)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	s, err := inspect(ctx, part)
	if err != nil {
		return fmt.Errorf("%s in container %s is not an intact snapshot: %w", name, b.container.name, err)
	}
	if want := metadata[sumKey]; want != "" && want != s.sum { // an operator can upload without metadata
		return fmt.Errorf("%s in container %s is another file than the saved one: its SHA-256 is %s, but must be %s, as "+
			"in its metadata", name, b.container.name, s.sum, want)
	}
	if err := os.Rename(part, path); err != nil {
		return err
	}
	b.log.Printf("fetched %s: %v, %.1f s", name, s, time.Since(start).Seconds())
	return nil
}
