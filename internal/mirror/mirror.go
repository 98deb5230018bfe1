// Package mirror fills and serves a folder with the files and the container images that machines download.
//
// https://HOST/PATH is the file HOST/PATH. The image REGISTRY/REPOSITORY:TAG is the OCI image layout
// oci/REGISTRY/REPOSITORY@TAG. Symbolic links to its blobs have the paths of the API of the OCI distribution below
// REGISTRY/v2/REPOSITORY, so that a plain file server is a registry.
package mirror

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"regexp"
)

// Handler serves a mirror like a plain file server, with two additions. It sends the media type of each manifest as its
// Content-Type, because containerd reads it nowhere else. It refuses requests in the format of the API of the OCI
// distribution. The handler caches nothing, so new files are available immediately.
func Handler(folder fs.FS) http.Handler {
	server := http.FileServerFS(folder)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			refuse(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "images can only be pulled here")
			return
		}
		file := path.Clean(r.URL.Path)
		parts := registryPath.FindStringSubmatch(file)
		if parts == nil {
			server.ServeHTTP(w, r)
			return
		}
		registry, repository, reference := parts[1], parts[2], parts[3]
		if repository == "" {
			w.WriteHeader(http.StatusOK) // the response of a registry that supports the API
			return
		}
		manifest, err := fs.ReadFile(folder, file[1:])
		if errors.Is(err, fs.ErrNotExist) {
			refuse(w, http.StatusNotFound, "MANIFEST_UNKNOWN",
				fmt.Sprintf("the mirror has no %s/%s:%s", registry, repository, reference))
			return
		}
		if err != nil {
			refuse(w, http.StatusInternalServerError, "UNKNOWN", err.Error())
			return
		}
		mediaType, err := mediaType(manifest)
		if err != nil {
			refuse(w, http.StatusInternalServerError, "MANIFEST_INVALID", fmt.Sprintf("%s: %s", file, err))
			return
		}
		w.Header().Set("Content-Type", mediaType)
		w.Header().Set("Docker-Content-Digest", fmt.Sprintf("sha256:%x", sha256.Sum256(manifest)))
		server.ServeHTTP(w, r)
	})
}

var registryPath = regexp.MustCompile(
	`^/([a-z0-9.:-]+)/v2(?:/([a-z0-9._/-]+)/manifests/([A-Za-z0-9._:-]+))?$`)

// mediaType returns the media type of a manifest. Only OCI manifests may omit the field.
func mediaType(manifest []byte) (string, error) {
	var content struct {
		MediaType string
		Manifests []any
	}
	if err := json.Unmarshal(manifest, &content); err != nil {
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

// refuse writes an error in the format of the OCI distribution's API.
func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]any{"errors": []map[string]string{{"code": code, "message": message}}})
}
