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
	"time"

	"kubernetes-openstack/internal/progress"
)

//go:embed rootfs
var rootfsRecipe embed.FS

// patience is how long services may take without any of them getting anywhere.
const patience = 5 * time.Minute

// up starts the cloud, whatever was there before, and returns when all of it works.
// Instances boot from the file image, or if that is "" from Image's. They download from the folder mirror.
func up(ctx context.Context, log *progress.Log, compute, image, mirror string) (err error) {
	driver, ok := computes[compute]
	if !ok {
		return fmt.Errorf("--compute %s: there is no such driver", compute)
	}
	if os.Geteuid() != 0 {
		return errors.New("only root can make namespaces and mounts: run it as root")
	}
	if mirror, err = filepath.Abs(mirror); err != nil {
		return err
	}
	unlock, err := lock(state("lock"), func() { log.Printf("waiting for another devcloud command to end …") })
	if err != nil {
		return err
	}
	defer unlock()

	var record Record
	if err := load("record.json", &record); err != nil {
		return err
	}
	if record.Init.alive() && !record.Ready.IsZero() {
		if record.Compute != compute {
			return fmt.Errorf("devcloud runs with --compute %s: end it first (down)", record.Compute)
		}
		if record.Mirror != mirror {
			return fmt.Errorf("devcloud runs with --mirror %s: end it first (down)", record.Mirror)
		}
		return log.Step("devcloud runs already, check it", func() error { return waitReady(ctx, record, 30*time.Second) })
	}
	if record.Cgroups != nil {
		err := log.Step("clean up what an earlier run left", func() error { return record.remove() })
		if err != nil {
			return err
		}
	}

	var kept Kept
	if err := load("kept.json", &kept); err != nil {
		return err
	}
	first := kept == Kept{}
	if !first && kept.Compute != compute {
		return fmt.Errorf("the kept data are of --compute %s: remove them first (down --purge)", kept.Compute)
	}
	if first && image == "" && driver.OwnImage {
		return fmt.Errorf("--compute %s needs --image, a disk image with cloud-init in it", compute)
	}
	if !first && image == "" && driver.OwnImage {
		image = kept.Image
	}
	listeners, err := listen(ports()) // now: to build takes long
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
		Compute: compute}
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

	record = Record{Compute: compute, Mirror: mirror, Started: time.Now()}
	defer func() {
		if err != nil {
			err = errors.Join(err, record.remove())
		}
	}()
	if err := log.Step("make the box", func() error { return box.start(&record, listeners) }); err != nil {
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
	if err := log.Step("wait for every agent", func() error { return waitReady(ctx, record, patience) }); err != nil {
		return err
	}
	built := <-building
	if built.err != nil {
		return built.err
	}
	if first {
		err = log.Step("create project, flavors, networks, image",
			func() error { return createCloud(ctx, record, built.path) })
	} else if kept.Image != filepath.Base(built.path) {
		err = log.Step("replace the image", func() error { return replaceImage(ctx, record, built.path) })
	}
	if err != nil {
		return err
	}
	if err := save("kept.json", Kept{Compute: compute, Image: filepath.Base(built.path)}); err != nil {
		return err
	}
	if err := writeClouds(); err != nil {
		return err
	}
	record.Ready = time.Now()
	return save("record.json", record)
}

// built is an image, or why there is none.
type built struct {
	path string
	err  error
}

// prepareImage builds the instances' image while other things happen, unless it is there or a file is given.
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

// prepare makes the state folder ready for a box and says which services run in it.
func prepare(first bool, snapshot, mirror string) (conditions []string, err error) {
	if first { // what is there is of a first start that did not end
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

// follow calls each for every unit that begins to run or is done, until all are; a unit that fails is an error with
// the end of its log.
func (r Record) follow(ctx context.Context, each func(Unit) error) error {
	told := map[string]bool{}
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
				if told[unit.Name] {
					continue
				}
				if err := each(unit); err != nil {
					return fmt.Errorf("%s: %w", unit.Name, err)
				}
				told[unit.Name] = true
				last = time.Now()
			default:
				all = false
			}
		}
		if all {
			return nil
		}
		if time.Since(last) > patience {
			for _, unit := range units {
				if unit.State == starting {
					return fmt.Errorf("%s does not answer\n%s", unit.Name, logTail(unit.Name))
				}
			}
		}
	}
}

// down ends what runs. The data stay, unless purge.
func down(log *progress.Log, purge bool) error {
	unlock, err := lock(state("lock"), func() { log.Printf("waiting for another devcloud command to end …") })
	if err != nil {
		return err
	}
	defer unlock()
	var record Record
	if err := load("record.json", &record); err != nil {
		return err
	}
	if err := log.Step("end devcloud", func() error { return record.remove() }); err != nil {
		return err
	}
	if !purge {
		return nil
	}
	return log.Step("remove its data", func() error { return os.RemoveAll(state()) })
}
