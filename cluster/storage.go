package cluster

import (
	"cmp"
	"fmt"

	"k8s.io/apimachinery/pkg/util/validation"
)

// Values of a StorageClass.
const (
	waitForFirstConsumer = "WaitForFirstConsumer"
	immediate            = "Immediate"
	deleteVolume         = "Delete"
	retainVolume         = "Retain"
)

// storageClasses are the classes there are, each with all that it is, and aliases as classes of their own.
func (s Storage) storageClasses() []StorageClass {
	classes := s.Classes
	if len(classes) == 0 {
		classes = []StorageClass{{Name: "cinder", Default: true}}
	}
	var out []StorageClass
	for _, class := range classes {
		aliases, expands := class.Aliases, true
		class.Aliases = nil
		class.FileSystem = cmp.Or(class.FileSystem, "ext4")
		class.VolumeBindingMode = cmp.Or(class.VolumeBindingMode, waitForFirstConsumer)
		class.AllowVolumeExpansion = cmp.Or(class.AllowVolumeExpansion, &expands)
		class.ReclaimPolicy = cmp.Or(class.ReclaimPolicy, deleteVolume)
		out = append(out, class)
		class.Default = false
		for _, alias := range aliases {
			class.Name = alias
			out = append(out, class)
		}
	}
	return out
}

func (s Storage) validate(e *Errors) {
	oneOf(e, "storage.onDestroy", s.OnDestroy, Keep, Delete)
	seen, standard := map[string]string{}, ""
	for i, class := range s.Classes {
		at := fmt.Sprintf("storage.classes[%d]", i)
		for j, name := range append([]string{class.Name}, class.Aliases...) {
			path := at + ".name"
			if j > 0 {
				path = fmt.Sprintf("%s.aliases[%d]", at, j-1)
			}
			if len(validation.IsDNS1123Subdomain(name)) > 0 {
				e.add(path, "must be lower-case letters, digits, '-' and '.' inside, not %q", name)
			} else if first, taken := seen[name]; taken {
				e.add(path, "%q is %s too", name, first)
			} else {
				seen[name] = path
			}
		}
		if class.Default && standard != "" {
			e.add(at+".default", "cannot be true: %s.default is, and claims that name no class get one", standard)
		} else if class.Default {
			standard = at
		}
		if class.Zone != "" {
			labelValue(e, at+".zone", class.Zone)
		}
		optionalOneOf(e, at+".fileSystem", class.FileSystem, "ext4", "xfs")
		optionalOneOf(e, at+".volumeBindingMode", class.VolumeBindingMode, waitForFirstConsumer, immediate)
		optionalOneOf(e, at+".reclaimPolicy", class.ReclaimPolicy, deleteVolume, retainVolume)
	}
}
