package guest

// ImageMount returns the path of the mounted image in /proc, which other processes can use.
func ImageMount() (string, error) {
	b, err := base()
	if err != nil {
		return "", err
	}
	return b.path("image"), nil
}
