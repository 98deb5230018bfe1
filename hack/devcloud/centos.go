package main

import (
	"context"
	"embed"
	"io"
	"path/filepath"

	"kubernetes-openstack/internal/debian"
	"kubernetes-openstack/internal/progress"
)

//go:embed centos
var centosRecipe embed.FS

// CentOS returns the path of a squashfs with the files that make the machines' image similar to CentOS, in an overlay
// mount above the image. Only tests use it. If the cache does not have it, CentOS builds it from the recipe in centos/.
func CentOS(ctx context.Context, log *progress.Log) (path string, err error) {
	image, err := Image(ctx, log)
	if err != nil {
		return "", err
	}
	return cached(ctx, log, "centos", centosRecipe, []string{filepath.Base(image), debian.LayerScript},
		func(ctx context.Context, recipe, part string, output io.Writer) error {
			return debian.Layer(ctx, image, part, recipe, output)
		})
}
