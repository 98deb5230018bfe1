package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"kubernetes-openstack/internal/progress"
)

//go:embed rootfs
var rootfsRecipe embed.FS

// timeout is the maximum time in which no service makes progress.
const timeout = 5 * time.Minute

// up starts the cloud from any earlier state, and returns when all services are healthy. Instances boot from the file
// image, or from the image of the function Image if it is "". They download from the folder mirror. variants is a list
// for parseVariants.
func up(ctx context.Context, log *progress.Log, compute, image, mirror, variants string) (err error) {
	driver, ok := computes[compute]
	if !ok {
		return fmt.Errorf("--compute: must be nspawn, libvirt or fake, got %s", compute)
	}
	selected, err := parseVariants(variants)
	if err != nil {
		return err
	}
	variants = strings.Join(selected, ",")
	if os.Geteuid() != 0 {
		return errors.New("must run as root, because it creates namespaces and mounts")
	}
	if mirror, err = filepath.Abs(mirror); err != nil {
		return err
	}
	record, unlock, err := lockRecord(log)
	if err != nil {
		return err
	}
	defer unlock()
	if record.Init.alive() && !record.Ready.IsZero() {
		if record.Compute != compute {
			return fmt.Errorf("devcloud is running with --compute %s: run `make down` first", record.Compute)
		}
		if record.Mirror != mirror {
			return fmt.Errorf("devcloud is running with --mirror %s: run `make down` first", record.Mirror)
		}
		if record.Variants != variants {
			return fmt.Errorf("devcloud is running with --variants %q: run `make down` first", record.Variants)
		}
		return log.Step("check the running devcloud", func() error { return waitReady(ctx, record, 30*time.Second) })
	}
	if record.Cgroups != nil {
		err := log.Step("clean up after an earlier run", func() error { return record.remove() })
		if err != nil {
			return err
		}
	}

	var kept Kept
	if err := load("kept.json", &kept); err != nil {
		return err
	}
	first := kept == Kept{}
	const purge = "`go run ./hack/devcloud down --purge` first, which deletes this data"
	if !first && kept.Compute != compute {
		return fmt.Errorf("the kept data was created with --compute %s: run "+purge, kept.Compute)
	}
	if !first && kept.Variants != variants {
		return fmt.Errorf("the kept data was created with --variants %q: run "+purge, kept.Variants)
	}
	if !first && kept.Catalogue != fmt.Sprint(catalogue) {
		return errors.New("the kept data is from another version of devcloud with other services: run " + purge)
	}
	if first && image == "" && driver.OwnImage {
		return fmt.Errorf("--compute %s: --image must be a disk image with cloud-init", compute)
	}
	if !first && image == "" && driver.OwnImage {
		image = kept.Image
	}
	listeners, err := listen(ports()) // before the builds, because they take long
	if err != nil {
		return err
	}
	building := prepareImage(ctx, log, image)
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	box := Box{State: state(), Mirror: mirror,
		Cgroup: fmt.Sprintf("devcloud-%d-%d", time.Now().Unix(), os.Getpid()), Ports: ports(),
		Compute: compute, Variants: selected}
	if box.Hierarchies, err = hierarchies(string(mounts)); err != nil {
		return err
	}
	if box.Rootfs, err = squashfs(ctx, log, "rootfs", rootfsRecipe, driver.Packages...); err != nil {
		return err
	}
	snapshot, err := snapshotPath(box.Rootfs)
	if err != nil {
		return err
	}
	if box.Conditions, err = prepare(first, snapshot, mirror); err != nil {
		return err
	}

	record = Record{Compute: compute, Mirror: mirror, Variants: variants, Started: time.Now()}
	defer func() {
		if err != nil {
			err = errors.Join(err, record.remove())
		}
	}()
	if err := log.Step("create the box", func() error { return box.start(&record, listeners) }); err != nil {
		return err
	}
	err = log.Step("start the services", func() error {
		return record.follow(ctx, func(unit Unit) error {
			log.Printf("  %s", unit.Name)
			switch {
			case unit.Name == "keystone" && slices.Contains(box.Conditions, onMigrate):
				if err := createCatalogue(ctx); err != nil {
					return err
				}
				return os.WriteFile(state("run", "catalogue"), nil, 0o644)
			case unit.Name == "snapshot":
				return keepSnapshot(snapshot)
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	if err := log.Step("wait for all agents", func() error { return waitReady(ctx, record, timeout) }); err != nil {
		return err
	}
	built := <-building
	if built.err != nil {
		return built.err
	}
	if first {
		err = log.Step("create project, flavors, networks and image",
			func() error { return createCloud(ctx, record, built.path) })
	} else if kept.Image != filepath.Base(built.path) {
		err = log.Step("replace the image", func() error { return replaceImage(ctx, record, built.path) })
	}
	if err != nil {
		return err
	}
	err = save("kept.json", Kept{compute, filepath.Base(built.path), fmt.Sprint(catalogue), variants})
	if err != nil {
		return err
	}
	if err := writeClouds(); err != nil {
		return err
	}
	record.Ready = time.Now()
	return save("record.json", record)
}

// built is an image, or the error of its build.
type built struct {
	path string
	err  error
}

// prepareImage builds the instances' image in the background, unless a file is given.
func prepareImage(ctx context.Context, log *progress.Log, file string) <-chan built {
	image := make(chan built, 1)
	if file != "" {
		image <- built{path: file}
		return image
	}
	go func() {
		path, err := Image(ctx, log)
		image <- built{path, err}
	}()
	return image
}

// prepare prepares the state folder for a box, and returns the conditions that select its services.
func prepare(first bool, snapshot, mirror string) (conditions []string, err error) {
	if first { // the data is from an incomplete first start
		if err := os.RemoveAll(state("data")); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(os.RemoveAll(state("log.old")), os.RemoveAll(state("run"))); err != nil {
		return nil, err
	}
	if err := os.Rename(state("log"), state("log.old")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	folders := []string{state("log"), state("run"), state("root"), mirror}
	for _, folder := range keptFolders {
		folders = append(folders, state("data", folder))
	}
	for _, folder := range folders {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return nil, err
		}
	}
	if !first {
		return nil, nil
	}
	if _, err := os.Stat(snapshot); err != nil {
		return []string{onFirst, onMigrate}, nil
	}
	return []string{onFirst, onRestore}, copyFolder(snapshot, state("run", "snapshot"))
}

// follow calls each for every unit that is running or done, until all units are. If a unit fails, the error contains
// the end of its log.
func (r Record) follow(ctx context.Context, each func(Unit) error) error {
	seen := map[string]bool{}
	for last := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !r.Init.alive() {
			return fmt.Errorf("the box has ended\n%s", logTail("box"))
		}
		var units []Unit
		if err := load("run/units.json", &units); err != nil {
			return err
		}
		all := len(units) > 0
		for _, unit := range units {
			switch unit.State {
			case failed:
				return fmt.Errorf("%s: %s\n%s", unit.Name, unit.Error, logTail(unit.Name))
			case running, done:
				if seen[unit.Name] {
					continue
				}
				if err := each(unit); err != nil {
					return fmt.Errorf("%s: %w", unit.Name, err)
				}
				seen[unit.Name] = true
				last = time.Now()
			default:
				all = false
			}
		}
		if all {
			return nil
		}
		if time.Since(last) > timeout {
			for _, unit := range units {
				if unit.State == starting {
					return fmt.Errorf("%s does not respond\n%s", unit.Name, logTail(unit.Name))
				}
			}
		}
	}
}

// lockRecord waits until no other devcloud command runs, and returns the record of the running cloud. Other commands
// wait until unlock is called.
func lockRecord(log *progress.Log) (record Record, unlock func(), err error) {
	unlock, err = lock(state("lock"), func() { log.Printf("waiting for another devcloud command to end …") })
	if err != nil {
		return record, nil, err
	}
	if err := load("record.json", &record); err != nil {
		unlock()
		return record, nil, err
	}
	return record, unlock, nil
}

// down stops devcloud. It keeps the data, unless purge is set.
func down(log *progress.Log, purge bool) error {
	record, unlock, err := lockRecord(log)
	if err != nil {
		return err
	}
	defer unlock()
	if err := log.Step("stop devcloud", func() error { return record.remove() }); err != nil {
		return err
	}
	if !purge {
		return nil
	}
	return log.Step("remove the data", func() error { return os.RemoveAll(state()) })
}
