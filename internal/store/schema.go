package store

import (
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// Schema is the number of the last migration that this version knows; it is the same for all engines.
func Schema() (int64, error) {
	files, err := fs.Glob(migrations, "migrations/sqlite/*.sql")
	if err != nil {
		return 0, fmt.Errorf("migrations: %w", err)
	}
	last := int64(0)
	for _, file := range files {
		number, _, _ := strings.Cut(strings.TrimPrefix(file, "migrations/sqlite/"), "_")
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("migrations: %w", err)
		}
		last = max(last, n)
	}
	return last, nil
}
