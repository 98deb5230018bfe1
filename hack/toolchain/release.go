package main

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/dirs"
	"kubernetes-openstack/internal/files"
	"kubernetes-openstack/internal/progress"
)

// makeRelease builds our own programs into a folder, with their checksums in the format of sha256sum. It returns an
// error if package cluster pins other checksums, because machines would reject these programs.
func makeRelease(version, folder, source string, log *progress.Log) error {
	if version != cluster.ProgramsVersion {
		return fmt.Errorf("VERSION: must be %s, as in cluster/artifacts.go, got %q", cluster.ProgramsVersion, version)
	}
	if err := ownPrograms.ensure(source, log); err != nil {
		return err
	}
	var sums, unpinned string
	for _, name := range slices.Sorted(maps.Keys(ownPrograms.artifacts)) {
		path, err := ownPrograms.programs[0].expand(source, ownPrograms.artifacts[name])
		if err != nil {
			return err
		}
		content, err := os.ReadFile(dirs.Mirror(path))
		if err != nil {
			return err
		}
		err = files.Replace(filepath.Join(folder, name),
			func(file string) error { return os.WriteFile(file, content, 0o755) })
		if err != nil {
			return err
		}
		sum := fmt.Sprintf("%x", sha256.Sum256(content))
		sums += sum + "  " + name + "\n"
		if sum != cluster.UpstreamSHA256(name, version) {
			unpinned += fmt.Sprintf("\n  %s %s: %s", name, version, sum)
		}
	}
	err := files.Replace(filepath.Join(folder, "SHA256SUMS"),
		func(file string) error { return os.WriteFile(file, []byte(sums), 0o644) })
	if err != nil {
		return err
	}
	if unpinned != "" {
		return fmt.Errorf("cluster/artifacts.go: must pin the checksums of the release in %s:%s", folder, unpinned)
	}
	log.Printf("the release is in %s", folder)
	return nil
}
