// Package pages collects what OpenStack lists on pages.
package pages

import (
	"context"

	"github.com/gophercloud/gophercloud/v2/pagination"
)

// Collect gives what is on all pages, as the caller has it, and wanted.
func Collect[T, U any](
	ctx context.Context, pager pagination.Pager, extract func(pagination.Page) ([]T, error), as func(T) (u U, wanted bool),
) ([]U, error) {
	pages, err := pager.AllPages(ctx)
	if err != nil {
		return nil, err
	}
	all, err := extract(pages)
	if err != nil {
		return nil, err
	}
	var out []U
	for _, t := range all {
		if u, wanted := as(t); wanted {
			out = append(out, u)
		}
	}
	return out, nil
}
