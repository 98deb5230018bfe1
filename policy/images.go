package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"kubernetes-openstack/internal/field"
)

// images are the rules about images whose content can change while their name stays.
var images = []Rule{
	{
		ID: "image-by-name", Level: Warning,
		When:   "`image.name` is set",
		Reason: "Glance resolves the name when a machine is created. So a replaced machine can boot another image.",
		Remedy: "Set `image.id` instead of `image.name`.",
		Check: func(s Stack, e *field.Errors) {
			if s.Image.Name != "" {
				e.Add("image.name", "%s is not the ID of an image", s.Image.Name)
			}
		},
	},
	{
		ID: "images-by-tag", Level: Warning,
		When:   "an image has a tag but no digest, and its registry has no mirror. registry.k8s.io needs none",
		Reason: "The owner of a registry can give a tag to another image. So a new machine can run other programs.",
		Remedy: "Set a mirror in `artifacts.registryMirrors`. `make mirror` fills one.",
		Check: func(s Stack, e *field.Errors) {
			tagged := map[string][]string{}
			for _, image := range s.Images {
				registry, _, _ := strings.Cut(image, "/")
				if registry != fixedTags && !strings.Contains(image, "@sha256:") {
					tagged[registry] = append(tagged[registry], image)
				}
			}
			for _, registry := range slices.Sorted(maps.Keys(tagged)) {
				if s.Artifacts.RegistryMirrors[registry] == "" {
					e.Add(fmt.Sprintf("artifacts.registryMirrors[%s]", registry), "is not set, and %s has a tag but no digest",
						slices.Min(tagged[registry]))
				}
			}
		},
	},
}

// fixedTags is the registry of Kubernetes. Its promotion of images refuses to give an existing tag to another image.
const fixedTags = "registry.k8s.io"
