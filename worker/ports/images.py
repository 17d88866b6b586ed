"""Images, and the files of this host that are made of them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

from worker.model.ids import BlockDeviceId, ImageId, InstanceId
from worker.model.image import Image, ImageFile
from worker.model.source import FileSource, HostVolume
from worker.model.specification import LocalDisk


class Images(ABC):
    """The image service, and this host's copies of its images."""

    @abstractmethod
    def show(self, image: ImageId) -> Image:
        """Return what is known of the image; raises ImageNotFound, ImagesUnavailable."""

    @abstractmethod
    def fetch(self, image: ImageId) -> ImageFile:
        """Return this host's copy of the image, made if need be, its content inspected.

        Raises ImageNotFound, ImagesUnavailable, NoRoom, and ImageRefused when the content is of
        another format than declared, names other files, or has a wrong checksum.
        """

    @abstractmethod
    def copy(self, image: ImageId) -> ImageFile | None:
        """Return this host's copy if there is a good one, and ask nobody; else None."""


class ImageListing(ABC):
    """The images there are, for whoever chooses one of them."""

    @abstractmethod
    def images(self) -> tuple[Image, ...]:
        """Return every image that can be used, by name and id; raises ImagesUnavailable."""

    @abstractmethod
    def find(self, image: ImageId) -> Image:
        """Return the image; raises ImageNotFound, ImageRefused, ImagesUnavailable."""


class ProjectImages(ABC):
    """An image service in which projects have images of their own."""

    @abstractmethod
    def find(self, image: ImageId, project: str | None) -> Image:
        """Return an image that the project may use: its own, one shared with it, or everybody's.

        Raises ImageNotFound, in the same words for what is not there and what is kept from the
        project; ImageRefused, ImagesUnavailable.
        """


class LocalDisks(ABC):
    """Disks that are files of this host."""

    @abstractmethod
    def check_room(self, size: int) -> None:
        """Raise NoRoom unless that many bytes more fit on the host."""

    @abstractmethod
    def create(self, instance: InstanceId, disk: LocalDisk, image: ImageFile | None) -> None:
        """Make the disk's file, of the image or blank; one that is there whole is kept as it is.

        What a crash left half made is made anew. Raises NoRoom, SpecificationInvalid when the
        image is larger than the disk.
        """

    @abstractmethod
    def find(self, instance: InstanceId, disk: LocalDisk) -> HostVolume | None:
        """Return where the disk is, None where it is not."""

    @abstractmethod
    def delete(self, instance: InstanceId, disk: BlockDeviceId) -> None:
        """Delete the disk's file, half-made ones too; one that is not there is fine."""

    @abstractmethod
    def folder(self, instance: InstanceId) -> str:
        """Return where the instance's files are, or would be."""

    @abstractmethod
    def base(self, instance: InstanceId, disk: LocalDisk) -> str | None:
        """Return the file that a disk which is there says it is made over, None for none."""

    @abstractmethod
    def rebase(self, instance: InstanceId, disk: LocalDisk, base: FileSource) -> None:
        """Have a disk that is made over a file say where that is now; neither is read.

        What the file holds must be what the disk was made over, or the disk is garbage.
        """

    @abstractmethod
    def tidy(self, instance: InstanceId) -> None:
        """Remove the instance's folder if nothing is in it."""

    @abstractmethod
    def console(self, instance: InstanceId) -> str:
        """Return the file that the guest's console may be written to, in a folder that is there."""

    @abstractmethod
    def clear(self, instance: InstanceId) -> None:
        """Delete the console's file, and the instance's folder with the last file in it."""


class ConfigDrives(ABC):
    """The config drives of this host's instances: files that a guest reads at boot.

    An instance in ``rescue`` may have another one, beside its own.
    """

    @abstractmethod
    def write(
        self, instance: InstanceId, files: Mapping[str, bytes], *, rescue: bool = False
    ) -> HostVolume:
        """Make the drive of these files, by path, or make it anew, and return where it is.

        A running guest keeps what it has open; the new one is seen at its next start.
        """

    @abstractmethod
    def find(self, instance: InstanceId, *, rescue: bool = False) -> HostVolume | None:
        """Return where the drive is, None where there is none."""

    @abstractmethod
    def delete(self, instance: InstanceId, *, rescue: bool = False) -> None:
        """Delete the drive; one that is not there is fine."""
