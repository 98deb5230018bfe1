package main

import (
	_ "embed"
)

// cloudsYAML is what OpenStack clients read; OS_CLIENT_CONFIG_FILE points to it.
//
//go:embed clouds.yaml
var cloudsYAML []byte

func writeClouds() error { return replaceFile(state("clouds.yaml"), cloudsYAML, 0o600) }
