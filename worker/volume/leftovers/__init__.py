"""What volumes leave on a host: read from the kernel's files, removed by os-brick and tools."""
