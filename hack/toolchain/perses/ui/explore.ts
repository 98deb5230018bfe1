// Stands for @perses-dev/explore. Perses shows its page only if the configuration enables it.
export const ViewExplore = () => null;
