// Command configdoc writes the keys of the configuration into docs/configuration.md. The text is in the comments of the
// structs in cluster/config.go. It runs in any folder of the repository:
//
//	go generate ./cluster
package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"kubernetes-openstack/cluster"
)

const (
	source   = "cluster/config.go"
	document = "docs/configuration.md"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "configdoc:", err)
		os.Exit(1)
	}
}

func run() error {
	root, err := findRoot()
	if err != nil {
		return err
	}
	path := filepath.Join(root, document)
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	written, err := generate(root, text)
	if err != nil || bytes.Equal(text, written) {
		return err
	}
	return os.WriteFile(path, written, 0o644)
}

// generate returns the document with the current keys.
func generate(root string, document []byte) ([]byte, error) {
	comments, err := readComments(filepath.Join(root, source))
	if err != nil {
		return nil, err
	}
	sections, err := collect(comments, cluster.Defaults(""))
	if err != nil {
		return nil, err
	}
	return insert(document, render(sections))
}

// findRoot returns the closest folder upwards with a go.mod.
func findRoot() (string, error) {
	folder, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			return folder, nil
		}
		parent := filepath.Dir(folder)
		if parent == folder {
			return "", fmt.Errorf("no go.mod in this folder or above: run configdoc inside the repository")
		}
		folder = parent
	}
}
