// Command review turns previews into one comment for a pull request: docs/operations.md#review-a-change.
//
//	pulumi preview --stack prod --json >prod.json
//	go build -o dist/ ./cmd/review && dist/review -full review.md prod.json dev.json >comment.md
//
// It needs no network and no credentials, unless -quota compares the change with what is left in the project. The name
// of a file is that of its stack. The exit code is that of the most serious result: 0 if nothing changes, 2 for
// changes, 3 if machines are replaced or removed, and 4 if a preview failed or a stack breaks a rule. It is 1 if a file
// cannot be read. `make review` runs it.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"kubernetes-openstack/internal/review"
)

func main() {
	full := flag.String("full", "", "`file` for the whole text. The comment has less than 65,536 bytes")
	date := flag.String("date", time.Now().Format(time.DateOnly), "`day` of the review, for the end of life of versions")
	touched := flag.String("touched", "", "print those of these `stacks` that a change of the files in the input touches")
	quota := flag.Bool("quota", false, "also read what is left in the OpenStack project of OS_CLOUD or the OS_* variables")
	flag.CommandLine.Init("review", flag.ContinueOnError) // flag's own exit code for a wrong flag is 2, as for changes
	if flag.CommandLine.Parse(os.Args[1:]) != nil {
		os.Exit(1)
	}
	if *touched != "" {
		changed, err := io.ReadAll(os.Stdin)
		if err != nil {
			fmt.Fprintln(os.Stderr, "review:", err)
			os.Exit(1)
		}
		fmt.Println(strings.Join(review.Touched(strings.Fields(string(changed)), strings.Fields(*touched)), " "))
		return
	}
	worst, err := run(*full, *date, *quota, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "review:", err)
		os.Exit(1)
	}
	os.Exit(int(worst))
}

func run(full, date string, withQuota bool, files []string) (review.Result, error) {
	today, err := time.Parse(time.DateOnly, date)
	if err != nil {
		return 0, fmt.Errorf("-date: must be a day such as 2027-01-31, not %q", date)
	}
	var quota review.Quota
	if withQuota {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if quota, err = readQuota(ctx); err != nil {
			fmt.Fprintln(os.Stderr, "review: without the available quota:", err)
			withQuota = false
		}
	}
	var reviews []review.Review
	worst := review.Unchanged
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return 0, err
		}
		stack := strings.TrimSuffix(filepath.Base(file), ".json")
		r, err := review.New(stack, text, today)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", file, err)
		}
		if withQuota && !r.Compare(quota) {
			fmt.Fprintf(os.Stderr, "review: %s is in another project than the credentials, so its quota is unknown\n", stack)
		}
		reviews = append(reviews, r)
		worst = max(worst, r.Result)
	}
	if full != "" {
		if err := os.WriteFile(full, []byte(review.WholeText(reviews)), 0o644); err != nil {
			return 0, err
		}
	}
	fmt.Print(review.Comment(reviews))
	return worst, nil
}
