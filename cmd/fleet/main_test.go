package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/internal/fleet"
	"kubernetes-openstack/internal/openstack"
)

func TestBar(t *testing.T) {
	assert.Equal(t, "[------------------------------] 0/30", draw(0, 30, 80))
	assert.Equal(t, "[##########--------------------] 10/30", draw(10, 30, 80))
	assert.Equal(t, "[##############################] 1/1", draw(1, 1, 80))
	assert.Equal(t, "[###------] 10/30", draw(10, 30, 18), "a narrow terminal")
	assert.Equal(t, "[-] 10/30", draw(10, 30, 10))
	assert.Equal(t, "10/30", draw(10, 30, 9))
}

// TestLines checks that a log, which is no terminal, has a line for each stack, and no control characters.
func TestLines(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	require.NoError(t, err)
	defer func() { _ = file.Close() }()
	bar := newBar(file, 2)
	bar.done(fleet.Row{Stack: "east", API: fleet.Ready})
	bar.done(fleet.Row{Stack: "west", API: "unreachable: no answer"})
	text, err := os.ReadFile(file.Name())
	require.NoError(t, err)
	assert.Regexp(t, `^fleet +[0-9.]+  1/2 east: API ready\nfleet +[0-9.]+  2/2 west: API unreachable: no answer\n$`,
		string(text))
}

// TestClouds checks that a stack has the login of the cloud with its name.
func TestClouds(t *testing.T) {
	file := filepath.Join(t.TempDir(), "clouds.yaml")
	require.NoError(t, os.WriteFile(file, []byte("clouds: {east: {auth: {auth_url: http://127.0.0.1:1/v3}}}"), 0o600))
	t.Setenv("OS_CLIENT_CONFIG_FILE", file)
	assert.True(t, openstack.HasCloud("east"))
	assert.False(t, openstack.HasCloud("west"))
	t.Setenv("OS_CLIENT_CONFIG_FILE", file+".missing")
	assert.False(t, openstack.HasCloud("east"))
}
