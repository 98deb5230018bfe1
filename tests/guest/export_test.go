package guest

// ImageMount is where the image is mounted, as other processes see it.
func ImageMount() (string, error) {
	b, err := base()
	if err != nil {
		return "", err
	}
	return b.path("image"), nil
}
