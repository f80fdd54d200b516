/** Runs inside OHIF's page: what its active viewport shows and holds. OHIF puts `services` and `cornerstone` there. */

export function installProbe() {
  localStorage.setItem("shownTours", JSON.stringify(["basicViewerTour"])); // else an introduction lies over the page

  const viewport = () => {
    const { cornerstoneViewportService, viewportGridService } = window.services;
    return cornerstoneViewportService.getCornerstoneViewport(viewportGridService.getActiveViewportId());
  };
  const imageUid = (imageId) => window.cornerstone.metaData.get("instance", imageId)?.SOPInstanceUID;
  const segmentation = () => window.services.segmentationService.getSegmentations()[0];
  const mapVolume = () => {
    const id = viewport()?.getAllVolumeIds?.()[1]; // the CT's volume comes first
    const volume = id && window.cornerstone.cache.getVolume(id);
    return volume?.loadStatus?.loaded ? volume : undefined;
  };

  window.probe = {
    showsImages: () => viewport()?.viewportStatus === "rendered",
    showsSegments: () => Object.keys(segmentation()?.segments ?? {}).length > 0,
    showsMap: () => Boolean(mapVolume()),

    /** Go to an image of a stack by its SOP Instance UID. */
    async goTo(uid) {
      const shown = viewport();
      await shown.setImageIdIndex(shown.getImageIds().findIndex((id) => imageUid(id) === uid));
      shown.render();
    },
    /** SOP Instance UID of the image shown. */
    image: () => imageUid(viewport().getCurrentImageId()),
    /** Rectangle of the picture in the page. */
    frame() {
      const { x, y, width, height } = viewport().canvas.getBoundingClientRect();
      return { x, y, width, height };
    },
    /** Where points in patient coordinates (mm) lie in the picture. */
    places: (points) => points.map((point) => [...viewport().worldToCanvas(point)]),

    segments() {
      const { segmentationId, segments } = segmentation();
      return Object.values(segments).map(({ segmentIndex, label }) => ({
        label,
        colour: [...window.services.segmentationService.getSegmentColor(viewport().id, segmentationId, segmentIndex)],
      }));
    },
    /** Hide every segment but those with these names. */
    showOnly(labels) {
      const { segmentationId, segments } = segmentation();
      for (const { segmentIndex, label } of Object.values(segments)) {
        const { segmentationService } = window.services;
        segmentationService.setSegmentVisibility(viewport().id, segmentationId, segmentIndex, labels.includes(label));
      }
      viewport().render();
    },

    map() {
      const { dimensions, spacing, origin, direction, voxelManager } = mapVolume();
      const geometry = { dimensions, spacing, origin: [...origin], direction: [...direction] };
      return { ...geometry, values: [...voxelManager.getCompleteScalarDataArray()] };
    },
  };
}
