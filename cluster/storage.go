package cluster

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"kubernetes-openstack/internal/field"
)

// Values of the fields of a StorageClass.
const (
	waitForFirstConsumer = "WaitForFirstConsumer"
	immediate            = "Immediate"
	deleteVolume         = "Delete"
	retainVolume         = "Retain"
)

// storageClasses returns all classes with their defaults. Each alias becomes a separate class.
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

// volumeZone returns the Cinder zone of the volume of an etcd member in a Nova zone. It is empty if Cinder selects it.
func (c Config) volumeZone(zone string) string {
	if mapped := c.Etcd.Volume.Zones[zone]; mapped != "" || !c.Storage.Topology {
		return mapped
	}
	return zone
}

// validateVolumeZones checks that etcd.volume.zones has exactly the zones of etcd.zones.
func (e Etcd) validateVolumeZones(errs *field.Errors) {
	if len(e.Volume.Zones) == 0 {
		return
	}
	for _, zone := range slices.Sorted(maps.Keys(e.Volume.Zones)) {
		if !slices.Contains(e.Zones, zone) {
			errs.Add(fmt.Sprintf("etcd.volume.zones[%s]", zone), "must be a zone of etcd.zones: it has %s",
				cmp.Or(orList(slices.Compact(slices.Sorted(slices.Values(e.Zones)))), "no zones"))
		}
	}
	for i, zone := range e.Zones {
		if zone != "" && e.Volume.Zones[zone] == "" {
			errs.Add(fmt.Sprintf("etcd.zones[%d]", i), "%s must also be in etcd.volume.zones, with its Cinder zone", zone)
		}
	}
}

// validate checks that names are unique, and that at most one class is the default.
func (s Storage) validate(e *field.Errors) {
	seen, defaultClass := map[string]string{}, ""
	for i, class := range s.Classes {
		classPath := fmt.Sprintf("storage.classes[%d]", i)
		for j, name := range append([]string{class.Name}, class.Aliases...) {
			path := classPath + ".name"
			if j > 0 {
				path = fmt.Sprintf("%s.aliases[%d]", classPath, j-1)
			}
			if first, duplicate := seen[name]; duplicate && name != "" {
				e.Add(path, "%q is also %s: use another name", name, first)
			} else {
				seen[name] = path
			}
		}
		if class.Default && defaultClass != "" {
			e.Add(classPath+".default", "must be false, because only one class can be the default and %s.default is true",
				defaultClass)
		} else if class.Default {
			defaultClass = classPath
		}
	}
}
