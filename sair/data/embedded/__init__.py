"""Make the data sets that need no download: drawn portraits, crops of photographs and stroke masks."""
