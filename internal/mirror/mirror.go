// Package mirror serves a folder of files and of container images.
package mirror

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"regexp"
)

// Handler serves the mirror's files as they are, and container images to who asks as one asks a registry (the
// OCI distribution's API, pulls only): /REGISTRY/v2/… has the images that are below oci/REGISTRY, each an OCI image
// layout in a folder REPOSITORY@TAG. Nothing is kept in memory: what comes later is there at once.
func Handler(files fs.FS) http.Handler {
	other := http.FileServerFS(files)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		parts := registryPath.FindStringSubmatch(r.URL.Path)
		if parts == nil {
			other.ServeHTTP(w, r)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			refuse(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "images can only be pulled here")
			return
		}
		registry, repository, kind, reference := parts[1], parts[2], parts[3], parts[4]
		if repository == "" {
			w.WriteHeader(http.StatusOK) // yes, this is a registry
			return
		}
		digest := reference
		if kind == "manifests" && !digestPattern.MatchString(reference) {
			var err error
			digest, err = tagged(files, path.Join("oci", registry, repository+"@"+reference))
			if errors.Is(err, fs.ErrNotExist) {
				refuse(w, http.StatusNotFound, "MANIFEST_UNKNOWN",
					fmt.Sprintf("the mirror has no %s/%s:%s", registry, repository, reference))
				return
			}
			if err != nil {
				refuse(w, http.StatusInternalServerError, "MANIFEST_INVALID", err.Error())
				return
			}
		}
		blob, err := findBlob(files, path.Join("oci", registry, repository), digest)
		if err != nil {
			refuse(w, http.StatusNotFound, "BLOB_UNKNOWN", err.Error())
			return
		}
		w.Header().Set("Docker-Content-Digest", digest)
		w.Header().Set("Content-Type", "application/octet-stream")
		if kind == "manifests" {
			mediaType, err := mediaType(files, blob)
			if err != nil {
				refuse(w, http.StatusInternalServerError, "MANIFEST_INVALID", err.Error())
				return
			}
			w.Header().Set("Content-Type", mediaType)
		}
		http.ServeFileFS(w, r, files, blob)
	})
}

var (
	registryPath = regexp.MustCompile(
		`^/([a-z0-9.-]+)/v2/(?:([a-z0-9._/-]+)/(manifests|blobs)/([A-Za-z0-9._:-]+))?$`)
	digestPattern = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
)

// tagged is the digest of the one image of a layout, or of its index of images for several platforms.
func tagged(files fs.FS, layout string) (digest string, err error) {
	var index struct{ Manifests []struct{ Digest string } }
	if err := readJSON(files, path.Join(layout, "index.json"), &index); err != nil {
		return "", err
	}
	if len(index.Manifests) != 1 {
		return "", fmt.Errorf("%s: it has %d images: one is what a tag stands for", layout, len(index.Manifests))
	}
	return index.Manifests[0].Digest, nil
}

// findBlob is the path of a blob, which any of a repository's tags may have.
func findBlob(files fs.FS, repository, digest string) (blob string, err error) {
	if !digestPattern.MatchString(digest) {
		return "", fmt.Errorf("%q is no SHA-256 digest", digest)
	}
	found, err := fs.Glob(files, repository+"@*/blobs/sha256/"+digest[len("sha256:"):])
	if err != nil || len(found) == 0 {
		return "", errors.Join(fmt.Errorf("no image of %s has %s", repository, digest), err)
	}
	return found[0], nil
}

// mediaType is the media type of a manifest. Only OCI's may leave it out.
func mediaType(files fs.FS, manifest string) (string, error) {
	var content struct {
		MediaType string
		Manifests []any
	}
	if err := readJSON(files, manifest, &content); err != nil {
		return "", err
	}
	switch {
	case content.MediaType != "":
		return content.MediaType, nil
	case content.Manifests != nil:
		return "application/vnd.oci.image.index.v1+json", nil
	}
	return "application/vnd.oci.image.manifest.v1+json", nil
}

func readJSON(files fs.FS, name string, v any) error {
	content, err := fs.ReadFile(files, name)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(content, v); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// refuse answers with an error as the OCI distribution's API has them.
func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]any{"errors": []map[string]string{{"code": code, "message": message}}})
}
