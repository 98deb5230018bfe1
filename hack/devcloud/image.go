package main

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"kubernetes-openstack/internal/debian"
	"kubernetes-openstack/internal/dirs"
	"kubernetes-openstack/internal/progress"
)

// variant is mmdebstrap's variant: apt and its dependencies, in addition to the recipe's packages.
const variant = "apt"

//go:embed image official selinux
var imageRecipes embed.FS

// Image returns the path of the machines' Debian 12 image, and builds it if the cache does not have it. The image is a
// squashfs of a root filesystem with cloud-init, which is built from the recipe in image/.
func Image(ctx context.Context, log *progress.Log) (path string, err error) {
	return squashfs(ctx, log, "image", imageRecipes)
}

// OfficialImage returns the path of the image of tests that need the services of official images. It is built like that
// of Image, from the recipe in official/.
func OfficialImage(ctx context.Context, log *progress.Log) (path string, err error) {
	return squashfs(ctx, log, "official", imageRecipes)
}

// SELinuxImage returns the path of the image of `make e2e-selinux`. It is built like that of Image, from the recipe in
// selinux/.
func SELinuxImage(ctx context.Context, log *progress.Log) (path string, err error) {
	return squashfs(ctx, log, "selinux", imageRecipes)
}

// squashfs returns the path of the squashfs of a Debian 12 root filesystem. If the cache does not have it, squashfs
// builds it. The recipe (package debian) is a folder with the name of the root filesystem. more are packages in
// addition to the recipe's.
func squashfs(ctx context.Context, log *progress.Log, name string, recipe embed.FS,
	more ...string) (path string, err error) {
	return cached(ctx, log, name, recipe, more,
		func(ctx context.Context, work, part string, output io.Writer) error {
			root := filepath.Join(work, "root")
			if err := debian.Make(ctx, root, variant, work, more, output); err != nil {
				return err
			}
			return debian.Run(ctx, "", output, "mksquashfs", root, part, "-comp", "zstd", "-Xcompression-level", "3",
				"-no-progress")
		})
}

// cached returns the path devcloud/<name>-<key>.sqfs in the cache. If the file does not exist, cached calls build with
// a copy of the recipe's folder, and removes files with other keys. more are inputs of build in addition to the recipe.
// The output of build is in <name>-<key>.log.
func cached(ctx context.Context, log *progress.Log, name string, recipe embed.FS, more []string,
	build func(ctx context.Context, recipe, part string, output io.Writer) error) (path string, err error) {
	content, err := fs.Sub(recipe, name)
	if err != nil {
		return "", err
	}
	key, err := recipeKey(content, more)
	if err != nil {
		return "", err
	}
	// All state folders share the cache.
	unlock, err := lock(dirs.Cache("devcloud", name+".lock"),
		func() { log.Printf("waiting for another build of %s …", name) })
	if err != nil {
		return "", err
	}
	defer unlock()
	path = dirs.Cache("devcloud", name+"-"+key+".sqfs")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	work := dirs.Cache("devcloud", name+".build") // a fixed name, so that the next build removes the files of a killed one
	if err := os.RemoveAll(work); err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	err = log.Step("build "+filepath.Base(path), func() error {
		if err := os.CopyFS(work, content); err != nil {
			return err
		}
		logPath := strings.TrimSuffix(path, filepath.Ext(path)) + ".log"
		output, err := os.Create(logPath)
		if err != nil {
			return err
		}
		defer output.Close()
		part := filepath.Join(work, filepath.Base(path))
		if err := build(ctx, work, part, output); err != nil {
			return fmt.Errorf("%w, see %s", err, logPath)
		}
		return os.Rename(part, path)
	})
	if err != nil {
		return "", err
	}
	all, err := filepath.Glob(dirs.Cache("devcloud", name+"-*"))
	for _, old := range all {
		if !strings.Contains(old, key) {
			err = os.Remove(old)
		}
	}
	return path, err
}

// recipeKey returns a short hash of all inputs of a root filesystem, except for the mirror's current packages.
func recipeKey(recipe fs.FS, more []string) (string, error) {
	hash := sha256.New()
	fmt.Fprintln(hash, debian.Command(variant), more)
	err := fs.WalkDir(recipe, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(recipe, path)
		fmt.Fprintf(hash, "%s %d\n%s", path, len(content), content)
		return err
	})
	return hex.EncodeToString(hash.Sum(nil))[:12], err
}
