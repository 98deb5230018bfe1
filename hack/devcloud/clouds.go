package main

import (
	_ "embed"
)

// cloudsYAML is the configuration of OpenStack clients. OS_CLIENT_CONFIG_FILE is its path.
//
//go:embed clouds.yaml
var cloudsYAML []byte

func writeClouds() error { return replaceFile(state("clouds.yaml"), cloudsYAML, 0o600) }
