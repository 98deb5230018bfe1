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

// Handler serves the files of the mirror, and container images by the API of the OCI distribution, for pulls
// only. /REGISTRY/v2/… serves the images below oci/REGISTRY. Each image is an OCI image layout in a folder
// REPOSITORY@TAG. The handler caches nothing, so new files are available immediately.
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
			w.WriteHeader(http.StatusOK) // the response of a registry that supports the API
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

// tagged returns the digest of the only image of a layout, or of the index of its images for several
// platforms.
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

// findBlob returns the path of a blob, which is in the folder of any tag of the repository.
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

// mediaType returns the media type of a manifest. Only OCI manifests may omit the field.
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

// refuse writes an error in the format of the OCI distribution's API.
func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]any{"errors": []map[string]string{{"code": code, "message": message}}})
}
